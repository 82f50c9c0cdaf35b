"""The four steps of a rotation."""
