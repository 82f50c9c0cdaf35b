"""Layers of functions, unpacked once by their content: all workers whose function has one share its folder.

On Lambda a layer is read-only, so that what is in it depends on nothing but the layer.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

_unpacked: dict[bytes, Path] = {}
_unpacking = threading.Lock()


class Archive(zipfile.ZipFile):
    """An archive as the emulator reads it when a worker starts: the function's code, or one of its layers."""

    def __init__(self, file: str) -> None:
        super().__init__(file)
        self._layer = Path(file) if Path(file).name.startswith("layer_") else None

    def namelist(self) -> list[str]:
        """The members whose paths are to be checked: none of a layer, as :mod:`zipfile` lets none lead elsewhere."""
        return super().namelist() if self._layer is None else []

    def extractall(self, path: str) -> None:  # type: ignore[override]
        """Unpack code into a folder; put a link to where a layer was unpacked in the place of the folder."""
        if self._layer is None:
            super().extractall(path)
            return
        with self._layer.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        with _unpacking:
            if digest not in _unpacked:
                folder = tempfile.mkdtemp(prefix="ministack-layer-")
                super().extractall(folder)
                _unpacked[digest] = Path(folder)
        Path(path).rmdir()
        Path(path).symlink_to(_unpacked[digest])


# In the place of the module by which the emulator reads archives.
ARCHIVES = SimpleNamespace(ZipFile=Archive, BadZipFile=zipfile.BadZipFile, LargeFileError=zipfile.LargeZipFile)
