"""That the trials of `make prove` see what they look for."""
