"""Certificates that an external CA signs: what is asked of it, and what comes back."""
