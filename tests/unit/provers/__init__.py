"""Proving a certificate at an endpoint: https, and a further protocol."""
