"""The four steps, for clients and for CAs."""
