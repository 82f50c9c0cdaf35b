"""Certificates: making them, reading them, checking them. Nothing here calls AWS."""
