"""The rotation engine."""
