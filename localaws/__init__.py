"""A local AWS for the demo and the tests: an emulator in a child process, and what it lacks.

This module holds the one public class, :class:`LocalAws`, which starts and ends it. The rooms run in the child, and
are not imported here. ``docs/local-aws.md`` has their order, and lists what is emulated and where it differs from AWS.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Self

import httpx

from localaws.environment import (
    CONFIG_FILE_TEXT,
    NotLoopbackError,
    client_environment,
    require_loopback,
    sealed,
    server_environment,
)
from localaws.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

__all__ = [
    "FrontDoor",
    "LocalAws",
    "LocalAwsError",
    "NotLoopbackError",
    "RotationRun",
    "Settings",
    "require_loopback",
    "sealed",
]

_LOOPBACK = "127.0.0.1"
_START_SECONDS = 60.0
_STOP_SECONDS = 5.0
_LOG_TAIL_BYTES = 4000


class LocalAwsError(RuntimeError):
    """The local AWS did not start, or has gone; the message holds the end of its log."""


@dataclass(frozen=True)
class FrontDoor:
    """Where the custom domains answer.

    Attributes:
        host: a loopback address; a client sends the custom domain as server name and connects here.
        port: the port, known before anything is deployed.
        server_ca_pem: the certificate that a client has to trust.
    """

    host: str
    port: int
    server_ca_pem: str


@dataclass(frozen=True)
class RotationRun:
    """One walk through the rotation steps; a retry is a run of its own.

    Attributes:
        trigger: ``test`` is the lone testSecret of a RotateSecret that does not rotate at once.
        attempt: 1, and one more with each retry.
        steps: the steps that ran, with the seconds each took.
        step_starts: the steps that began, with when each did.
        error: what stopped the run, naming the step first; ``None`` while it runs and when it went well.
    """

    secret_name: str
    secret_arn: str
    version_id: str
    trigger: Literal["manual", "scheduled", "test"]
    attempt: int
    started_at: datetime
    finished_at: datetime | None
    steps: Mapping[str, float]
    step_starts: Mapping[str, datetime]
    error: str | None


class LocalAws:
    """A running local AWS.

    >>> with LocalAws.start(log_path=Path("build/local-aws.log")) as aws:  # doctest: +SKIP
    ...     subprocess.run(["sam", "deploy"], env=sealed(os.environ, aws.environment()))
    """

    def __init__(self, process: subprocess.Popen[bytes], endpoint_url: str, lifeline: int, state_dir: Path) -> None:
        self.endpoint_url = require_loopback(endpoint_url)
        self._process = process
        self._lifeline = lifeline
        self._state_dir = state_dir
        self._http = httpx.Client(base_url=endpoint_url, trust_env=False, timeout=30.0)
        self.front_door: FrontDoor

    @classmethod
    def start(cls, *, log_path: Path | None = None, functions_endpoint_url: str | None = None, **settings: Any) -> Self:
        """Start a local AWS on free loopback ports and wait until it answers.

        Args:
            log_path: where its log goes; a temporary file when left out.
            functions_endpoint_url: where functions call AWS, if something stands in between; on loopback, too.
            settings: the attributes of :class:`~localaws.settings.Settings`.

        Raises:
            LocalAwsError: it ended, or did not answer, before it was ready.
        """
        wanted = Settings(**settings)
        state_dir = Path(tempfile.mkdtemp(prefix="localaws-"))
        (state_dir / "aws-config").write_text(CONFIG_FILE_TEXT, "utf-8")
        log = (log_path or state_dir / "local-aws.log").absolute()
        log.parent.mkdir(parents=True, exist_ok=True)
        with _listener() as gateway, _listener() as front_door, log.open("wb") as log_file:
            endpoint_url = f"http://{_LOOPBACK}:{gateway.getsockname()[1]}"
            door_port: int = front_door.getsockname()[1]
            functions_url = functions_endpoint_url or endpoint_url
            process, lifeline = _spawn(wanted, gateway, front_door, endpoint_url, functions_url, state_dir, log_file)
        aws = cls(process, endpoint_url, lifeline, state_dir)
        try:
            ready = aws._wait_until_ready(log)
        except BaseException:
            aws.stop()
            raise
        aws.front_door = FrontDoor(_LOOPBACK, door_port, ready["server_ca_pem"])
        return aws

    def environment(self) -> dict[str, str]:
        """Return the variables for an SDK or tool; :func:`sealed` lays them over a cleaned environment."""
        return client_environment(self.endpoint_url, str(self._state_dir / "aws-config"))

    def now(self) -> datetime:
        """Return the time on the clock that rotation schedules run on."""
        return datetime.fromisoformat(self._control("GET", "clock")["now"])

    def advance_clock(self, by: timedelta) -> datetime:
        """Move that clock forward; rotations that fall due by this start at once."""
        return datetime.fromisoformat(self._control("POST", "clock", advance_seconds=by.total_seconds())["now"])

    def age_objects(self, bucket: str, prefix: str, by: timedelta) -> int:
        """Make the objects under a prefix look as if they had been written earlier, and return how many there are."""
        seconds = by.total_seconds()
        return int(self._control("POST", "objects", bucket=bucket, prefix=prefix, by_seconds=seconds)["aged"])

    def set_domain_status(self, name: str, status: str, message: str = "") -> None:
        """Bring a custom domain into a state of `DomainNameStatus`, as an update that fails does."""
        self._control("POST", "domains", domain_name=name, status=status, message=message)

    def rotations(self) -> list[RotationRun]:
        """Return every rotation run so far, oldest first, those under way included."""
        return [_rotation_run(run) for run in self._control("GET", "rotations")["rotations"]]

    def configure(self, **settings: Any) -> Settings:
        """Change settings while it runs; the names are those of :class:`~localaws.settings.Settings`."""
        plain = {k: v.total_seconds() if isinstance(v, timedelta) else v for k, v in settings.items()}
        return Settings().changed(self._control("POST", "settings", **plain))

    def wait(self) -> int:
        """Wait until the process ends by itself and return its exit status."""
        return self._process.wait()

    def stop(self) -> None:
        """End it and everything that it started. Calling it again does nothing."""
        self._http.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _kill_group(self._process.pid)
            self._process.wait()
            shutil.rmtree(self._state_dir, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _control(self, method: str, name: str, **data: Any) -> dict[str, Any]:
        response = self._http.request(method, f"/_localaws/{name}", json=data or None)
        answer: dict[str, Any] = response.json()
        if response.status_code >= 400:
            raise ValueError(answer.get("error", response.text))
        return answer

    def _wait_until_ready(self, log: Path) -> dict[str, Any]:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise LocalAwsError(
                    f"the local AWS ended with status {self._process.returncode} at start. Its log ends:\n{_tail(log)}"
                )
            try:
                return self._control("GET", "ready")
            except httpx.TransportError:
                time.sleep(0.02)
        raise LocalAwsError(f"the local AWS did not answer within {_START_SECONDS:.0f} s. Its log ends:\n{_tail(log)}")


def _listener() -> socket.socket:
    """Bind a free loopback port; the child listens on it."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((_LOOPBACK, 0))
    listener.listen(1024)
    return listener


def _spawn(
    settings: Settings,
    gateway: socket.socket,
    front_door: socket.socket,
    endpoint_url: str,
    functions_endpoint_url: str,
    state_dir: Path,
    log_file: IO[bytes],
) -> tuple[subprocess.Popen[bytes], int]:
    """Start the child; return it and the end of the pipe whose closing, by whatever cause, ends it."""
    read_end, lifeline = os.pipe()
    options = {
        "gateway_fd": gateway.fileno(),
        "front_door_fd": front_door.fileno(),
        "lifeline_fd": read_end,
        "state_dir": str(state_dir),
        "settings": settings.to_json(),
    }
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "localaws.process.server", json.dumps(options)],
            cwd=Path(__file__).parent.parent,
            env=server_environment(
                os.environ,
                endpoint_url=endpoint_url,
                functions_endpoint_url=functions_endpoint_url,
                state_dir=str(state_dir),
                enforce_iam=settings.enforce_iam,
            ),
            pass_fds=(gateway.fileno(), front_door.fileno(), read_end),
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except BaseException:
        os.close(lifeline)
        raise
    finally:
        os.close(read_end)
    return process, lifeline


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def _tail(log: Path) -> str:
    return log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")


def _rotation_run(run: dict[str, Any]) -> RotationRun:
    finished = run["finished_at"]
    times = {
        "started_at": datetime.fromisoformat(run["started_at"]),
        "finished_at": datetime.fromisoformat(finished) if finished else None,
        "step_starts": {step: datetime.fromisoformat(started) for step, started in run["step_starts"].items()},
    }
    return RotationRun(**(run | times))
