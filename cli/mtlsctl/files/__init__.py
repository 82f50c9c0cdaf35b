"""Files that an operator names, read and written."""
