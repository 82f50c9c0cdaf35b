"""Opens a directory that nobody but root and this user can exchange or write to, and says what is wrong with any other.

The path is walked from / on by descriptors, so that what was looked at is what is used: who may write one of the
directories on the way, or owns a symbolic link there, could lead it elsewhere (CWE-367, CWE-732).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import deque
from dataclasses import dataclass
from pathlib import Path

_ROOT = 0
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
# As many as the kernel follows: path_resolution(7).
_MOST_LINKS = 40
_ON_THE_WAY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class UntrustedPathError(Exception):
    """Somebody else could put something in the place of what is written.

    Attributes:
        found: what was found, and where.
        remedy: what to do.
    """

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found)
        self.found, self.remedy = found, remedy


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom a path may depend on: root, and one user.

    Attributes:
        user: the id of that user, as whom this process writes.
        shared_volume: whether a volume that root owns may be writable by everybody, as Kubernetes' `emptyDir` is (mode
            0777, or 2777 with an fsGroup): its operator has seen to it that no other container mounts it writable.
    """

    user: int
    shared_volume: bool = False

    @classmethod
    def of_this_process(cls, *, shared_volume: bool = False) -> Trust:
        """In root and the user that this process runs as."""
        return cls(os.geteuid(), shared_volume)

    def see(self, place: str, found: os.stat_result, *, is_last: bool, is_volume: bool) -> None:
        """See whether a directory or a link can be trusted.

        Args:
            place: its path.
            found: its status.
            is_last: whether it is what the path leads to. In one before it, the sticky bit keeps everybody else from
                moving what root or the user owns.
            is_volume: whether something is mounted there.

        Raises:
            UntrustedPathError: it cannot.
        """
        if found.st_uid not in (_ROOT, self.user):
            kind = "the link" if stat.S_ISLNK(found.st_mode) else "the directory"
            raise UntrustedPathError(
                f"{kind} {place} of user {found.st_uid}, who may put anything in its place",
                f"Have root or user {self.user}, as which this runs, own it, or choose another directory.",
            )
        if stat.S_ISLNK(found.st_mode) or not found.st_mode & _OTHERS_WRITE:
            return
        if found.st_mode & stat.S_ISVTX and not is_last:
            return
        if is_volume and self.shared_volume:
            return
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        volume = (
            " If it is a volume that containers share, such as an emptyDir: mount it read-only in every other "
            "container, and give --shared-volume."
        )
        raise UntrustedPathError(
            f"the directory {place} of mode {mode}, in which others may put anything",
            f"Take that from them (chmod go-w {place}), or choose a directory that is this user's alone, such as a new "
            f"one below it if it has the sticky bit.{volume if is_volume or found.st_uid == _ROOT else ''}",
        )


def open_directory(path: Path, trust: Trust, *, make: bool = False, is_last: bool = True) -> int:
    """A descriptor of a directory.

    Args:
        path: where.
        trust: whom it may depend on.
        make: whether it is made if it is missing, with mode 0700. Those before it are not.
        is_last: whether files are to be put into it, and not into a directory that is yet to be made there.

    Raises:
        UntrustedPathError: others could exchange or write to it.
        OSError: it is missing, no directory, or not to be entered; `filename` says where.
    """
    steps = deque(part for part in os.fspath(path.absolute()).split("/") if part)
    place, links = "/", 0
    here = os.open("/", _ON_THE_WAY)
    try:
        trust.see(place, os.fstat(here), is_last=is_last and not steps, is_volume=True)
        while steps:
            step = steps.popleft()
            name = os.path.normpath(os.path.join(place, step))  # noqa: PTH118 - to the byte
            following = _step(here, step, name, make=make and not steps)
            try:
                found = os.fstat(following)
                if stat.S_ISLNK(found.st_mode):
                    links += 1
                    if links > _MOST_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
                    trust.see(name, found, is_last=False, is_volume=False)
                    target = os.readlink("", dir_fd=following)
                    steps.extendleft(reversed([part for part in target.split("/") if part]))
                    if target.startswith("/"):
                        here, place = _exchange(here, os.open("/", _ON_THE_WAY)), "/"
                    continue
                if not stat.S_ISDIR(found.st_mode):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)
                is_volume = found.st_dev != _device_above(following)
                trust.see(name, found, is_last=is_last and not steps, is_volume=is_volume)
                here, place, following = _exchange(here, following), name, -1
            finally:
                if following >= 0:
                    os.close(following)
        try:
            return os.open(".", _DIRECTORY, dir_fd=here)
        except OSError as error:
            raise OSError(error.errno, error.strerror, place) from None
    finally:
        os.close(here)


def _step(here: int, step: str, name: str, *, make: bool) -> int:
    try:
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(step, 0o700, dir_fd=here)
        return os.open(step, _ON_THE_WAY, dir_fd=here)
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from None


def _device_above(here: int) -> int:
    above = os.open("..", _ON_THE_WAY, dir_fd=here)
    try:
        return os.fstat(above).st_dev
    finally:
        os.close(above)


def _exchange(former: int, following: int) -> int:
    os.close(former)
    return following
