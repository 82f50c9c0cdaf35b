"""The adapters of AWS services: calls that fail or hang, and the index of filed certificates."""
