"""Certificates that somebody else signs: what is asked of them, and what comes back."""
