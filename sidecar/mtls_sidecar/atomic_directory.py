"""Replaces all files of a directory in one step, as Kubernetes does for its volumes.

The files are in a directory of their own, `..data` is a symbolic link to it, and the names that readers use are links
into `..data`. A new set is a new directory, and one rename(2) of `..data` puts it in place. So whoever opens `..data`
once sees one set or the other, never some of each.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from mtls_sidecar.errors import DirectoryError

DATA = "..data"
_NEXT = "..data_tmp"
# Not fsync'ed: what lies in memory is gone with the machine anyway.


class AtomicDirectory:
    """A directory whose files are replaced together.

    Args:
        path: the directory; it is made if it does not exist.
        group: the id of a group that may read the files; None for nobody else. Files have mode 0440 with a group, 0400
            without, directories 0750 or 0700. A directory that exists already keeps its own mode and owner.
    """

    def __init__(self, path: Path, group: int | None = None) -> None:
        self.path = path
        self._group = group

    @property
    def is_empty(self) -> bool:
        """Whether no set of files was ever put there."""
        return not (self.path / DATA).is_symlink()

    def holds(self, files: Mapping[str, bytes]) -> bool:
        """Whether exactly these files are in place, under the names that readers use."""
        try:
            current = self.path / DATA
            return {entry.name for entry in current.iterdir()} == set(files) and all(
                (current / name).read_bytes() == content
                and (self.path / name).readlink() == Path(DATA, name)
                and self._permits(current / name)
                for name, content in files.items()
            )
        except OSError:
            return False

    def replace(self, files: Mapping[str, bytes]) -> None:
        """Put these files in the place of all that were there.

        Args:
            files: content by name.

        Raises:
            DirectoryError: it cannot be written to, or not given to the group; what was there is still in place.
        """
        try:
            self._make()
            made = self._write(files)
            try:
                self._swap(made.name)
            except OSError:
                shutil.rmtree(made, ignore_errors=True)
                raise
            self._sweep(made.name)
            for name in files:
                self._link(name)
        except OSError as error:
            found = error.strerror or type(error).__name__
            place = error.filename or self.path
        else:
            return
        raise DirectoryError(
            where=f"directory {self.path}",
            found=f"'{found}' at {place}",
            expected="a directory that this process may write to, with space left"
            + ("" if self._group is None else f", and membership of group {self._group}"),
            remedy="What was there before stays in place. Correct the directory's owner, mode, size or group.",
        )

    def _make(self) -> None:
        if not self.path.exists():
            self.path.mkdir(mode=0o700)
            self._open_to_group(self.path, 0o750)

    def _write(self, files: Mapping[str, bytes]) -> Path:
        """A new directory with the files, which nobody else can enter before it is complete."""
        now = datetime.now(UTC)
        made = Path(tempfile.mkdtemp(prefix=f"..{now:%Y_%m_%d_%H_%M_%S}.", dir=self.path))
        try:
            for name, content in files.items():
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with os.fdopen(os.open(made / name, flags, 0o400), "wb") as file:
                    file.write(content)
                self._open_to_group(made / name, 0o440)
            self._open_to_group(made, 0o750)
        except OSError:
            shutil.rmtree(made, ignore_errors=True)
            raise
        return made

    def _swap(self, target: str) -> None:
        following = self.path / _NEXT
        following.unlink(missing_ok=True)
        following.symlink_to(target)
        following.replace(self.path / DATA)

    def _link(self, name: str) -> None:
        """Have the reader's name lead into `..data`. Replaced by rename(2), so that the name is never missing."""
        link, target = self.path / name, Path(DATA, name)
        if link.is_symlink() and link.readlink() == target:
            return
        following = self.path / f"..{name}_tmp"
        following.unlink(missing_ok=True)
        following.symlink_to(target)
        following.replace(link)

    def _sweep(self, current: str) -> None:
        """Remove every former set, those of a run that was killed among them."""
        for entry in list(self.path.iterdir()):
            if entry.name.startswith("..2") and entry.name != current and entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)

    def _open_to_group(self, path: Path, mode: int) -> None:
        if self._group is not None:
            os.chown(path, -1, self._group)
            path.chmod(mode)

    def _permits(self, path: Path) -> bool:
        status = path.stat()
        expected = 0o400 if self._group is None else 0o440
        return status.st_mode & 0o777 == expected and self._group in (None, status.st_gid)
