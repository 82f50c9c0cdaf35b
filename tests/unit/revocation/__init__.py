"""A run of revocation, also where it is killed, and who asks the list."""
