"""Reads the file in which a daemon notes its process id, and decides whether to believe it.

Whoever may write the file chooses who gets the signal, and an id that is left over may be another process's by now. So
the file must be root's or that of the process's user, and older than neither: see `see_that_it_fits`.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

_ROOT = 0
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
# The first is the init of its namespace, or the one program of another container whose ids are not ours.
_LOWEST = 2
_LONGEST = 64
# Seconds: by so much the clock may have been put forward between the process's start and the writing of its file.
_TOLERANCE = 60.0
_ENDED = frozenset("ZXx")


class UnfitPidFileError(Exception):
    """The file is not to be believed. The message says what was found."""


@dataclass(frozen=True, slots=True)
class PidFile:
    """What a file says.

    Attributes:
        pid: the process id in it.
        owner: the id of the user whose file it is.
        written: when, in seconds since the epoch.
    """

    pid: int
    owner: int
    written: float


@dataclass(frozen=True, slots=True)
class Process:
    """A process that runs.

    Attributes:
        pid: its id.
        users: its real and saved user ids: those who may signal it, kill(2).
        started: when, in seconds since the epoch.
        state: one letter, proc_pid_stat(5).
    """

    pid: int
    users: frozenset[int]
    started: float
    state: str


def read(path: Path) -> PidFile:
    """Read a file of a process id.

    Raises:
        UnfitPidFileError: it holds no process id, or others may write it.
        OSError: it cannot be read; a symbolic link is not followed.
    """
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(opened, "rb") as file:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            raise UnfitPidFileError("something else than a file")
        if found.st_nlink > 1:
            # Whoever may write the directory can have a file of root's own go by this name: link(2).
            raise UnfitPidFileError("a file that has another name beside this one")
        if found.st_mode & _OTHERS_WRITE:
            raise UnfitPidFileError(f"mode {stat.S_IMODE(found.st_mode):04o}, by which others may write it")
        text = file.read(_LONGEST + 1).decode("ascii", "replace").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST):
        raise UnfitPidFileError("no process id in it")
    pid = int(text)
    # 0 would be this one's process group, as a negative number would be another: kill(2).
    if not _LOWEST <= pid < 1 << 31:
        raise UnfitPidFileError(f"{text}, which is no process that may be signalled")
    return PidFile(pid, found.st_uid, found.st_mtime)


def running(pid: int) -> Process:
    """A process as /proc has it.

    Raises:
        UnfitPidFileError: there is none.
    """
    folder = Path("/proc", str(pid))
    try:
        status = (folder / "status").read_text("utf-8", "replace").splitlines()
        line = (folder / "stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        raise UnfitPidFileError(f"{pid}, and no such process") from None
    real, _, saved, _ = next(it for it in status if it.startswith("Uid:")).split()[1:]
    # What stands in parentheses is the program's own to choose: proc_pid_stat(5), (2) comm.
    state, *fields = line.rpartition(")")[2].split()
    since_boot = int(fields[18]) / os.sysconf("SC_CLK_TCK")
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return Process(pid, frozenset({int(real), int(saved)}), booted + since_boot, state)


def see_that_it_fits(noted: PidFile, process: Process) -> None:
    """See whether it is the process that the file was written for.

    Raises:
        UnfitPidFileError: it is this process itself, or has ended; it is another user's than the one whose file it is,
            who is not root; or it has started since.
    """
    if process.pid == os.getpid():
        raise UnfitPidFileError(f"{process.pid}, which is the sidecar itself: the file is of another process namespace")
    if process.state in _ENDED:
        raise UnfitPidFileError(f"{process.pid}, a process that has ended")
    if noted.owner not in process.users | {_ROOT}:
        users = " and ".join(map(str, sorted(process.users)))
        raise UnfitPidFileError(f"{process.pid}, a process of user {users}, in a file of user {noted.owner}")
    if process.started > noted.written + _TOLERANCE:
        late = process.started - noted.written
        raise UnfitPidFileError(f"{process.pid}, a process that started {late:.0f} s after the file was written")
