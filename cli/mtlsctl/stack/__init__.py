"""The deployed stack, as an operator's credentials reach it: its settings, its secrets, certificates and domains."""
