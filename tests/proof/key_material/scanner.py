"""Finds private keys in bytes, and counts what it has looked at."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from tests.proof.key_material import shapes
from tests.proof.key_material.findings import Finding, context
from tests.proof.key_material.needles import Needles
from tests.proof.key_material.views import View, members, views

CHUNK = 4 << 20
OVERLAP = 32 << 10  # more than any key takes, however it is written
DEPTH = 5
_ZIP = b"PK\x03\x04"
_PROGRAM = b"\x7fELF"  # machine code is no text, nor is an archive: it is looked at with nothing undone
_FINDINGS = 20  # in a place: the first ones say what there is to say


class Scanner:
    """Looks through places, each content once.

    Attributes:
        needles: the keys that are known. What was looked at is not looked at again when more are learnt: learn first.
        scanned: how many bytes, by kind of place.
        findings: what was found.
    """

    def __init__(self, needles: Needles | None = None) -> None:
        self.needles = needles or Needles()
        self.scanned: Counter[str] = Counter()
        self.findings: list[Finding] = []
        self._seen: set[bytes] = set()

    def scan(self, kind: str, place: str, data: bytes) -> list[Finding]:
        """Look through bytes; what was found in them. `kind` says what kind of place it is, for the count."""
        self.scanned[kind] += len(data)
        digest = hashlib.sha256(data).digest()
        if digest in self._seen:
            return []
        self._seen.add(digest)
        return self._note(self._blob(place, data))

    def look(self, place: str, data: bytes) -> list[Finding]:
        """What is found in bytes, without counting them or keeping it."""
        return _few(self._blob(place, data))

    def scan_file(self, kind: str, path: Path, place: str = "") -> list[Finding]:
        """Look through a file of any size, and through what is in it if it is an archive."""
        place = place or str(path)
        with path.open("rb") as file:
            size = path.stat().st_size
            if size <= CHUNK:
                return self.scan(kind, place, file.read())
            digest = hashlib.file_digest(file, "sha256").digest()
            self.scanned[kind] += size
            if digest in self._seen:
                return []
            self._seen.add(digest)
            file.seek(0)
            if file.read(4) == _ZIP:
                return self._note(it for view in members(file) for it in self._members(place, view))
            file.seek(0)
            return self._note(self._stream(place, iter(lambda: file.read(CHUNK), b"")))

    def _note(self, found: Iterator[Finding]) -> list[Finding]:
        few = _few(found)
        self.findings += few
        return few

    def _blob(self, place: str, data: bytes) -> Iterator[Finding]:
        if data.startswith(_ZIP):
            with io.BytesIO(data) as file:
                for view in members(file):
                    yield from self._members(place, view)
        if data.startswith(b"\x1f\x8b\x08") or len(data) <= CHUNK:
            yield from self._view(place, 0, data, (), program=data.startswith((_PROGRAM, _ZIP)))
        else:
            yield from self._stream(place, (data[at : at + CHUNK] for at in range(0, len(data), CHUNK)))

    def _members(self, place: str, view: View) -> Iterator[Finding]:
        digest = hashlib.sha256(view.data).digest()
        if digest in self._seen:
            return
        self._seen.add(digest)  # a function's folder has it unpacked
        for found in self._blob(place, view.data):
            yield Finding(place, found.offset, found.kind, (view.name, *found.decoded), found.context)

    def _stream(self, place: str, chunks: Iterator[bytes]) -> Iterator[Finding]:
        """Chunk by chunk, each with the end of the one before it."""
        at, before, program = 0, b"", False
        for chunk in chunks:
            program = chunk.startswith((_PROGRAM, _ZIP)) if not at else program
            yield from self._view(place, at - len(before), before + chunk, (), program=program)
            at += len(chunk)
            before = chunk[-OVERLAP:]

    def _view(
        self,
        place: str,
        at: int,
        data: bytes,
        decoded: tuple[str, ...],
        *,
        program: bool = False,
        plainly: bool = False,
    ) -> Iterator[Finding]:
        found = [*shapes.keys(data), *self.needles.found(data)]
        for offset, kind in found:
            yield Finding(place, at + (0 if decoded else offset), kind, decoded, context(data, offset))
        if len(decoded) == DEPTH or program:
            return
        for view in views(data, plainly=plainly):
            for it in self._inside(place, view, (*decoded, view.name)):
                yield it if decoded else replace(it, offset=at + view.offset + max(0, data.find(view.begins)))

    def _inside(self, place: str, view: View, decoded: tuple[str, ...]) -> Iterator[Finding]:
        if view.text:
            yield from self._view(place, 0, view.data, decoded, plainly=view.plain)
            return
        for _, kind in shapes.der_keys(view.data):
            yield Finding(place, 0, kind, decoded, "")


def _few(found: Iterator[Finding]) -> list[Finding]:
    """The first of them, each once: chunks overlap."""
    return list({(it.offset, it.kind): it for it in islice(found, _FINDINGS)}.values())
