"""`python -m mtls_sidecar`, and what the installed command calls."""

from mtls_sidecar.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
