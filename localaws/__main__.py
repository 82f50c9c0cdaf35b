"""``python -m localaws``: a local AWS in the foreground, with everything printed that another shell needs."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from localaws import LocalAws, LocalAwsError
from localaws.environment import export_lines

_LOG = Path("build/local-aws.log")


def describe(aws: LocalAws, ca_file: Path) -> str:
    """Return what to type in another shell."""
    door = aws.front_door
    return "\n".join(
        [
            "The local AWS is running. Stop it with Ctrl-C; nothing of it remains.",
            "",
            "In another shell, so that aws and sam work against it and against nothing else:",
            "",
            *(f"  {line}" for line in export_lines(aws.environment())),
            "",
            f"API Gateway's custom domains answer at https://localhost:{door.port}, with mutual TLS where set.",
            f"Their server certificate is signed by {ca_file}. For a domain api.example.com:",
            "",
            f"  curl --cacert {ca_file} --cert client.pem --key client.key \\",
            f"       --connect-to api.example.com:443:{door.host}:{door.port} https://api.example.com/",
            "",
            f"Log: {_LOG}",
        ]
    )


def run(prepare: Callable[[LocalAws], str] = lambda _: "", **settings: Any) -> int:
    """Run until a signal comes or the child ends; return the exit status.

    Args:
        prepare: what to do once it is up, before anything is printed; what it returns is printed last.
        settings: the attributes of :class:`~localaws.settings.Settings`.
    """
    heed_signals()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="localaws-ca-") as directory,
            LocalAws.start(log_path=_LOG, **settings) as aws,
        ):
            ca_file = Path(directory) / "server-ca.pem"
            ca_file.write_text(aws.front_door.server_ca_pem, "utf-8")
            prepared = prepare(aws)
            print(describe(aws, ca_file), prepared, sep="\n\n", flush=True)
            status = aws.wait()
    except KeyboardInterrupt:
        return 0
    except LocalAwsError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"The local AWS ended by itself (status {status}); see {_LOG}.", file=sys.stderr)
    return 1


def heed_signals() -> None:
    """Have SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt in the main thread.

    SIGINT does so also where a script's shell, which has its background ignore it, has started this program. A SIGHUP
    that is ignored stays so: that is what `nohup` is for.
    """
    numbers = {signal.SIGINT, signal.SIGTERM}
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.add(signal.SIGHUP)
    for number in numbers:
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(run())
