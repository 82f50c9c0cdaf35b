"""`mtlsctl import`: certificates that are there already, and certificates that an external CA signed."""
