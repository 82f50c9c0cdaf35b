"""`python -m mtlsctl`, and what the installed command calls."""

import sys


def main() -> None:
    """Run the command line. Whoever ends it by Ctrl-C, however early, sees no traceback."""
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(130)


def _run() -> None:
    from mtls_rotation.errors import MtlsRotationError
    from mtlsctl.app import app
    from mtlsctl.frame.command import refuse

    try:
        app(prog_name="mtlsctl")
    except MtlsRotationError as error:
        sys.exit(refuse(error))


if __name__ == "__main__":
    main()
