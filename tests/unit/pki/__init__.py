"""Certificates: made, read, verified, compared with their request and with RFC 5280."""
