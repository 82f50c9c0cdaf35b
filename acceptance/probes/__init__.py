"""Questions that AWS's pages leave open, or that the project relies on, one module each, in the order of `registry`."""
