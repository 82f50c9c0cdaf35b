"""The operator's command line: see docs/mtlsctl.md."""
