"""Tells another program that the certificate is another one: runs a command, or sends a signal."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mtls_sidecar import pid_file
from mtls_sidecar.errors import NotificationError
from mtls_sidecar.pid_file import UnfitPidFileError

_STANDARD_ERROR = 2


class Notifier(Protocol):
    """One way to tell."""

    @property
    def name(self) -> str:
        """What it is called in the metrics: `command` or `signal`."""

    async def notify(self) -> None:
        """Tell it.

        Raises:
            NotificationError: it did not get through.
        """


@dataclass(frozen=True, slots=True)
class Command:
    """Runs a program without a shell. What it prints goes to standard error.

    Attributes:
        arguments: the program and its arguments.
        timeout: after how many seconds it is killed, with what it started.
    """

    arguments: tuple[str, ...]
    timeout: float
    name: str = "command"

    async def notify(self) -> None:
        """See `Notifier`. It must exit with status 0."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=_STANDARD_ERROR,
                start_new_session=True,
            )
        except OSError as error:
            raise self._failed(f"'{error.strerror}'") from None
        try:
            async with asyncio.timeout(self.timeout):
                status = await process.wait()
        except TimeoutError:
            raise self._failed(f"it still running after {self.timeout:g} s, and killed it") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if status:
            raise self._failed(f"exit status {status}" if status > 0 else signal.Signals(-status).name)

    def _failed(self, found: str) -> NotificationError:
        return NotificationError(
            where=f"the command {self.arguments[0]}",
            found=found,
            expected=f"exit status 0 within {self.timeout:g} s",
            remedy="It is run again at the next check. What it printed tells more.",
        )


@dataclass(frozen=True, slots=True)
class Signal:
    """Sends a signal to the process whose id is in a file, if that is the process that the file was written for.

    Attributes:
        signal: which one.
        pid_file: the file; it is read anew each time.
    """

    signal: signal.Signals
    pid_file: Path
    name: str = "signal"

    async def notify(self) -> None:
        """See `Notifier`. That the process does as it is told cannot be seen."""
        try:
            noted = pid_file.read(self.pid_file)
            with _reference(noted.pid) as process:
                # Its id stays its own as long as it is referred to, so what is looked at is what gets the signal.
                pid_file.see_that_it_fits(noted, pid_file.running(noted.pid))
                if process is None:
                    os.kill(noted.pid, self.signal)
                else:
                    signal.pidfd_send_signal(process, self.signal)
        except UnfitPidFileError as error:
            raise self._failed(str(error)) from None
        except OSError as error:
            raise self._failed(f"'{error.strerror}'") from None

    def _failed(self, found: str) -> NotificationError:
        return NotificationError(
            where=f"{self.signal.name} to the process of {self.pid_file}",
            found=found,
            expected="the id of a process in the same process namespace, in a file that root or that process's user "
            "wrote after the process had started",
            remedy="It is sent again at the next check. In a pod: shareProcessNamespace, and the same user.",
        )


@contextlib.contextmanager
def _reference(pid: int) -> Iterator[int | None]:
    """A reference to a process (pidfd_open(2)); None where there is none: before Linux 5.3, and in some sandboxes."""
    try:
        process = os.pidfd_open(pid)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
        yield None
        return
    try:
        yield process
    finally:
        os.close(process)
