"""Files that a run has left, or is about to delete."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from tests.proof.key_material.allowed import reason_for
from tests.proof.key_material.scanner import Scanner

# A function's worker has a copy of its layers. Many workers have the same: a file is looked at where it first appears.
_LAYER = re.compile(r"/ministack-lambda-[^/]+/((?:layer_\d+|code)(?:/|\.zip).*)")


class Files:
    """Which files of layers were seen."""

    def __init__(self) -> None:
        self.layers: set[tuple[str, int]] = set()


_seen = Files()


def look_through(folder: Path, kind: str, scanner: Scanner, but: frozenset[Path] = frozenset()) -> None:
    """Look at every regular file below a folder, or at the one file that it is. Links are not followed."""
    if folder.is_symlink():
        return
    for path in [folder] if folder.is_file() else _below(folder):
        if path not in but:
            look_at(path, kind, scanner)


def look_at(path: Path, kind: str, scanner: Scanner) -> None:
    """Look at one, unless it may hold a key. It may vanish meanwhile."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or reason_for(str(path)):
            return
        if layer := _LAYER.search(str(path)):
            copy = (layer[1], status.st_size)
            if copy in _seen.layers:
                return
            _seen.layers.add(copy)
        scanner.scan_file(kind, path)
    except (FileNotFoundError, PermissionError):
        return


def _below(folder: Path) -> list[Path]:
    return [Path(parent) / name for parent, _, names in os.walk(folder) for name in names]
