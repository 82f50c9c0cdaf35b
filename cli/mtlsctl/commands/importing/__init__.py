"""`mtlsctl import`: certificates that are there already, and certificates that somebody else signed for us."""
