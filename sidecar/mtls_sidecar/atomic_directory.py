"""Replaces all files of a directory in one step, as Kubernetes does for its volumes.

The files are in a directory of their own, `..data` is a symbolic link to it, and the names that readers use are links
into `..data`. A new set is a new directory, and one rename(2) of `..data` puts it in place. So whoever opens `..data`
once sees one set or the other, never some of each.

All of it is done below a descriptor of a directory that others cannot exchange: see `trusted_path`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from mtls_sidecar import memory_backed
from mtls_sidecar.errors import DirectoryError
from mtls_sidecar.trusted_path import Trust, UntrustedPathError, open_directory

DATA = "..data"
_NEXT = "..data_tmp"
_SET = "..2"  # the year
_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Which of the directory's own are handed down to what is made in it: acl(5).
_ACCESS_LISTS = ("system.posix_acl_default", "system.posix_acl_access")
# Not fsync'ed: what lies in memory is gone with the machine anyway.


class AtomicDirectory:
    """A directory whose files are replaced together.

    Args:
        path: the directory; it is made if it does not exist.
        group: the id of a group that may read the files; None for nobody else. Files have mode 0440 with a group, 0400
            without, directories 0750 or 0700, and no access control list. A directory that exists already keeps its
            own mode and owner.
        trust: whom the path may depend on; if not given, root and the user that this process runs as.
        in_memory: whether nothing is written where it does not lie in memory: what is mounted there may go.
    """

    def __init__(
        self, path: Path, group: int | None = None, trust: Trust | None = None, *, in_memory: bool = False
    ) -> None:
        self.path = path
        self._in_memory = in_memory
        self._group = group
        self._trust = trust or Trust.of_this_process()

    @property
    def is_empty(self) -> bool:
        """Whether no set of files was ever put there."""
        with contextlib.suppress(OSError, UntrustedPathError), self._opened() as folder:
            return not stat.S_ISLNK(os.lstat(DATA, dir_fd=folder).st_mode)
        return True

    def holds(self, files: Mapping[str, bytes]) -> bool:
        """Whether exactly these files are in place, under the names that readers use, and nobody else's."""
        with contextlib.suppress(OSError, UntrustedPathError), self._opened() as folder:
            name = os.readlink(DATA, dir_fd=folder)
            if not name.startswith(_SET) or "/" in name:
                return False
            with _entered(folder, name) as current:
                return (
                    self._permits(os.fstat(current), 0o700, 0o750)
                    and set(os.listdir(current)) == set(files)  # noqa: PTH208 - of a descriptor
                    and all(os.readlink(it, dir_fd=folder) == f"{DATA}/{it}" for it in files)
                    and all(self._has(current, it, content) for it, content in files.items())
                )
        return False

    def replace(self, files: Mapping[str, bytes]) -> None:
        """Put these files in the place of all that were there.

        Args:
            files: content by name.

        Raises:
            DirectoryError: it cannot be written to, or not given to the group, or others could exchange what is in it,
                or it lies on a disk; what was there is still in place.
        """
        try:
            with self._opened(make=True) as folder:
                self._see_where_it_lies(folder)
                made = self._write(folder, files)
                try:
                    _link(folder, DATA, made, _NEXT)
                except OSError:
                    shutil.rmtree(made, ignore_errors=True, dir_fd=folder)
                    raise
                _sweep(folder, made)
                for name in files:
                    target = f"{DATA}/{name}"
                    # By rename(2), so that the name is never missing.
                    if not _leads_to(folder, name, target):
                        _link(folder, name, target, f"..{name}_tmp")
        except UntrustedPathError as error:
            found, remedy = error.found, f"What was there before stays in place. {error.remedy}"
            expected = "a directory that nobody but root and this process's user can exchange or write to"
        except OSError as error:
            found = f"'{error.strerror or type(error).__name__}' at {self._place(error)}"
            remedy = "What was there before stays in place. Correct the directory's owner, mode, size or group."
            expected = "a directory that this process may write to, with space left"
            expected += "" if self._group is None else f", and membership of group {self._group}"
        else:
            return
        raise DirectoryError(where=f"directory {self.path}", found=found, expected=expected, remedy=remedy)

    @contextmanager
    def _opened(self, *, make: bool = False) -> Iterator[int]:
        """A descriptor of the directory; one that is made here is opened to the group."""
        is_new = make and not os.path.lexists(self.path)
        folder = open_directory(self.path, self._trust, make=make)
        try:
            if is_new:
                self._open_to_group(folder, 0o750)
            yield folder
        finally:
            os.close(folder)

    def _see_where_it_lies(self, folder: int) -> None:
        if not self._in_memory:
            return
        found = memory_backed.of_device(os.fstat(folder).st_dev)
        if found not in memory_backed.IN_MEMORY:
            raise DirectoryError(
                where=f"directory {self.path}",
                found=f"a file system of type {found}",
                expected=memory_backed.EXPECTED,
                remedy="Nothing was written. Mount what was mounted there before, or give --allow-disk if the key may "
                "lie on a disk.",
            )

    def _write(self, folder: int, files: Mapping[str, bytes]) -> str:
        """A new directory with the files, which nobody else can enter before it is complete. Its name."""
        made = f"..{datetime.now(UTC):%Y_%m_%d_%H_%M_%S}.{secrets.token_hex(4)}"
        os.mkdir(made, 0o700, dir_fd=folder)
        try:
            with _entered(folder, made) as inside:
                if os.fstat(inside).st_uid != self._trust.user:
                    raise PermissionError(errno.EPERM, "another's directory in the place of the one just made", made)
                _take_from_others(inside)
                for name, content in files.items():
                    with os.fdopen(os.open(name, _CREATE, 0o400, dir_fd=inside), "wb") as file:
                        file.write(content)
                        self._open_to_group(file.fileno(), 0o440)
                self._open_to_group(inside, 0o750)
        except OSError:
            shutil.rmtree(made, ignore_errors=True, dir_fd=folder)
            raise
        return made

    def _open_to_group(self, opened: int, mode: int) -> None:
        if self._group is not None:
            os.fchown(opened, -1, self._group)
            os.fchmod(opened, mode)

    def _has(self, folder: int, name: str, content: bytes) -> bool:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with os.fdopen(file, "rb") as opened:
            status = os.fstat(file)
            return (
                stat.S_ISREG(status.st_mode)
                and self._permits(status, 0o400, 0o440)
                and opened.read(len(content) + 1) == content
            )

    def _permits(self, status: os.stat_result, alone: int, with_group: int) -> bool:
        expected = alone if self._group is None else with_group
        fits = status.st_mode & 0o777 == expected and self._group in (None, status.st_gid)
        return fits and status.st_uid == self._trust.user

    def _place(self, error: OSError) -> str:
        """Where it happened: below the descriptor there are names alone."""
        name = error.filename if isinstance(error.filename, str) else ""
        return str(self.path / name)


@contextmanager
def _entered(folder: int, name: str) -> Iterator[int]:
    opened = os.open(name, _ENTER, dir_fd=folder)
    try:
        yield opened
    finally:
        os.close(opened)


def _take_from_others(folder: int) -> None:
    """Have no access control list be handed down, by which somebody else could read what is made in it."""
    for attribute in _ACCESS_LISTS:
        try:
            os.removexattr(folder, attribute)
        except OSError as error:
            # There is none, or the file system knows none.
            if error.errno not in (errno.ENODATA, errno.ENOTSUP):
                raise
    os.fchmod(folder, 0o700)


def _link(folder: int, name: str, target: str, following: str) -> None:
    """Have a name lead somewhere, in one step."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(following, dir_fd=folder)
    os.symlink(target, following, dir_fd=folder)
    os.rename(following, name, src_dir_fd=folder, dst_dir_fd=folder)


def _leads_to(folder: int, name: str, target: str) -> bool:
    with contextlib.suppress(OSError):
        return os.readlink(name, dir_fd=folder) == target
    return False


def _sweep(folder: int, current: str) -> None:
    """Remove every former set, those of a run that was killed among them."""
    for name in os.listdir(folder):
        if name.startswith(_SET) and name != current:
            shutil.rmtree(name, ignore_errors=True, dir_fd=folder)
