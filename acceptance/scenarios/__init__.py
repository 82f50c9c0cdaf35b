"""What operators live through, one module each, in the order of `registry`."""
