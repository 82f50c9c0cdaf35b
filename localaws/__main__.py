"""``python -m localaws``: a local AWS in the foreground, with everything printed that another shell needs."""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from localaws import LocalAws, LocalAwsError
from localaws.shell import entering

_LOG = Path("build/local-aws.log")


@dataclass(frozen=True)
class Prepared:
    """What was made on a local AWS before it is announced.

    Attributes:
        text: what to say of it.
        variables: further variables for the shell that sources the file.
        programs: further folders of programs for its PATH.
    """

    text: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    programs: tuple[Path, ...] = ()


def describe(aws: LocalAws, ca_file: Path, environment_file: Path) -> str:
    """Return what to type in another shell."""
    door = aws.front_door
    return "\n".join(
        [
            f"The local AWS is running at {aws.endpoint_url}. Stop it with Ctrl-C; nothing of it remains.",
            "",
            "In another shell, so that whatever it runs works against it and against nothing else:",
            "",
            f"  source {shlex.quote(str(environment_file))}",
            "",
            "leave_local gives that shell back what it had before.",
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


def run(
    prepare: Callable[[LocalAws], Prepared] = lambda _: Prepared(),
    environment_file: Path | None = None,
    **settings: Any,
) -> int:
    """Run until a signal comes or the child ends; return the exit status.

    Args:
        prepare: what to do once it is up, before anything is printed; what it returns is printed last.
        environment_file: what another shell sources; it is there while the local AWS is. None for one of its own.
        settings: the attributes of :class:`~localaws.settings.Settings`.
    """
    heed_signals()
    try:
        with tempfile.TemporaryDirectory(prefix="localaws-ca-") as directory:
            file = (environment_file or Path(directory) / "local.env").absolute()
            with held(file), LocalAws.start(log_path=_LOG, **settings) as aws:
                ca_file = Path(directory) / "server-ca.pem"
                ca_file.write_text(aws.front_door.server_ca_pem, "utf-8")
                prepared = prepare(aws)
                _write(file, shell_file(file, aws, ca_file, prepared))
                print(describe(aws, ca_file, environment_file or file), prepared.text, sep="\n\n", flush=True)
                status = aws.wait()
    except KeyboardInterrupt:
        return 0
    except LocalAwsError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"The local AWS ended by itself (status {status}); see {_LOG}.", file=sys.stderr)
    return 1


def shell_file(file: Path, aws: LocalAws, ca_file: Path, prepared: Prepared) -> str:
    """Return the text of what another shell sources."""
    door = {"LOCAL_GATEWAY": f"https://localhost:{aws.front_door.port}/", "LOCAL_SERVER_CA": str(ca_file)}
    return entering(file, aws.environment() | door | dict(prepared.variables), *prepared.programs)


@contextmanager
def held(file: Path) -> Iterator[None]:
    """Have the file for this process alone, and take it away at the end: what it names is gone."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(f".{file.name}.lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalAwsError(
                f"{file} is that of another local AWS, which is running. Use that one, or stop it with Ctrl-C first."
            ) from None
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


def _write(file: Path, text: str) -> None:
    """Put it there as a whole: a shell may be reading."""
    new = file.with_name(f".{file.name}.new")
    new.write_text(text, "utf-8")
    os.replace(new, file)  # noqa: PTH105


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
