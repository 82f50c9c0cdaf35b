"""What needs a local AWS but no deployed stack: the local AWS itself, and the examples on it."""
