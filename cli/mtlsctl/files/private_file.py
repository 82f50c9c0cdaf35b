"""Writes a file that may hold a private key: readable by its owner alone, and there as a whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from mtlsctl.errors import FileNotWrittenError, NameTakenError

if TYPE_CHECKING:
    from pathlib import Path

_MODE = 0o600


def check_writable(file: Path, *, overwrite: bool) -> None:
    """Whether a file could be written, as far as can be told before the operator is asked.

    Raises:
        NameTakenError: it is there already.
        FileNotWrittenError: its folder is not there, or it is not a file.
    """
    if file.is_dir() or not file.parent.is_dir():
        found = "a folder" if file.is_dir() else "no such folder"
        raise _not_written(file if file.is_dir() else file.parent, found)
    if not overwrite and os.path.lexists(file):
        raise _taken(file)


def write(file: Path, content: bytes, *, overwrite: bool) -> None:
    """Write it under another name and give it its own when it is complete. What cannot be finished leaves nothing.

    Raises:
        NameTakenError: it is there already, and `overwrite` is False.
        FileNotWrittenError: the system refuses.
    """
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            if overwrite:
                temporary.replace(file)
            else:
                file.hardlink_to(temporary)  # which fails if the name is taken, whatever stands there
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
    except FileExistsError:
        raise _taken(file) from None
    except OSError as error:
        raise _not_written(file, error.strerror or "a refusal") from None


def _taken(file: Path) -> NameTakenError:
    return NameTakenError(
        where=str(file),
        found="a file of that name",
        expected="none: what is there may be in use",
        remedy="Nothing was written. Name another file, or give --overwrite.",
    )


def _not_written(file: Path, found: str) -> FileNotWrittenError:
    return FileNotWrittenError(
        where=str(file),
        found=found,
        expected="a folder in which a file can be made and linked",
        remedy="Nothing was written. Name another file; on a file system without links, give --overwrite.",
    )
