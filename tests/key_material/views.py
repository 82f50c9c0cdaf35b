"""What some bytes say once an encoding is undone: escapes, percent signs, UTF-16, base64, hexadecimal, archives."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
import zlib
from binascii import a2b_base64, unhexlify
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO
from urllib.parse import unquote_to_bytes

from tests.key_material.shapes import der_keys, plain

# What is taken out of an archive is bounded: what unpacks to more than this holds something else than keys.
MEMBER_BYTES = 64 << 20
ARCHIVE_BYTES = 256 << 20
_RUN = re.compile(rb"[A-Za-z0-9+/_-]{40,}")
_ESCAPE = re.compile(rb"\\+(?:x|u00)([0-9A-Fa-f]{2})")
_ESCAPED = re.compile(rb"\\(?:x|u00)[0-9A-Fa-f]{2}")
_PERCENT = re.compile(rb"%(?:[23][0-9A-Fa-f]|0[ADad])")
_WIDE = re.compile(rb"(?:[\t\n\r -~]\x00){24,}")
_WIDE_HEADER = "PRIVATE KEY".encode("utf-16-le")
_HEXADECIMAL = b"0123456789abcdefABCDEF"
_STANDARD = bytes.maketrans(b"-_", b"+/")
_GZIP, _ZIP, _ZLIB = b"\x1f\x8b\x08", b"PK\x03\x04", (b"\x78\x01", b"\x78\x9c", b"\x78\xda")
_ARCHIVES = (_GZIP, _ZIP, *_ZLIB)


@dataclass(frozen=True, slots=True)
class View:
    """Bytes with one encoding undone.

    Attributes:
        name: which.
        offset: where in the bytes before it begins.
        text: whether it is something that was written, and so may hold another encoding. Else it is what any text
            becomes when it is taken for base64, and only the shapes of keys in binary are looked for.
    """

    name: str
    offset: int
    data: bytes
    text: bool = True


def views(data: bytes) -> Iterator[View]:
    """All of them."""
    yield from archived(data)
    for at, text in _texts(data, _ESCAPED):
        yield View("escapes", at, _ESCAPE.sub(lambda it: bytes.fromhex(it[1].decode()), text))
    for at, text in _texts(data, _PERCENT):
        yield View("percent signs", at, unquote_to_bytes(text))
    if _WIDE_HEADER in data or data.count(b"\0") * 4 > len(data):
        for wide in _WIDE.finditer(data):
            yield View("UTF-16", wide.start(), wide.group()[::2])
    yield from _runs(data)


def _texts(data: bytes, pattern: re.Pattern[bytes]) -> Iterator[tuple[int, bytes]]:
    """What stands around each match, from one zero byte to the next: no text has any, and binary data has many."""
    end = 0
    while match := pattern.search(data, end):
        begin, end = data.rfind(b"\0", 0, match.start()) + 1, data.find(b"\0", match.end())
        end = len(data) if end < 0 else end
        yield begin, data[begin:end]


def _runs(data: bytes) -> Iterator[View]:
    """What base64 and hexadecimal stand for. A line's end does not end either.

    Where in a run the base64 begins nobody knows: a path before it is of the same letters. So each of the four
    beginnings is tried. Three of them give noise, which is looked at as a whole, and in pieces where a key is in it.
    """
    joined = plain(data).translate(None, b"\r\n\\")
    noise: list[tuple[bytes, bytes]] = []
    for run in _RUN.findall(joined):
        standard = run.translate(_STANDARD)
        for skipped in range(4):
            decoded = a2b_base64(standard[skipped : skipped + (len(standard) - skipped) // 4 * 4])
            if decoded.isascii() or decoded.startswith(_ARCHIVES):
                yield View("base64", _place(data, run), decoded)
            else:
                noise.append((run, decoded))
        if not run.translate(None, _HEXADECIMAL):
            for skipped in range(2):
                decoded = unhexlify(run[skipped : skipped + (len(run) - skipped) // 2 * 2])
                if decoded.isascii():
                    yield View("hexadecimal", _place(data, run), decoded)
                else:
                    noise.append((run, decoded))
    if any(der_keys(bytes(8).join(decoded for _, decoded in noise))):
        for run, decoded in noise:
            yield View("base64 or hexadecimal", _place(data, run), decoded, text=False)


def _place(data: bytes, run: bytes) -> int:
    return max(0, data.find(run[:16]))


def archived(data: bytes) -> Iterator[View]:
    """What an archive holds."""
    if data.startswith(_ZIP):
        with io.BytesIO(data) as file:
            yield from members(file)
    elif data.startswith(_GZIP):
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as unpacked:
            yield from _unpacked("gzip", unpacked)
    elif data.startswith(_ZLIB):
        unpacking = zlib.decompressobj()
        try:
            yield View("deflate", 0, unpacking.decompress(data, MEMBER_BYTES))
        except zlib.error:
            return


def members(file: io.BufferedIOBase | io.BufferedReader) -> Iterator[View]:
    """What is in a zip file, its comment and its names included."""
    try:
        with zipfile.ZipFile(file) as archive:
            yield View("zip's names", 0, "\n".join(archive.namelist()).encode() + archive.comment)
            left = ARCHIVE_BYTES
            for member in archive.infolist():
                if member.is_dir() or member.flag_bits & 1 or left <= 0:
                    continue
                with archive.open(member) as unpacked:
                    for view in _unpacked(f"zip's {member.filename}", unpacked, min(left, MEMBER_BYTES)):
                        left -= len(view.data)
                        yield view
    except zipfile.BadZipFile:
        return


def _unpacked(name: str, file: IO[bytes] | gzip.GzipFile, most: int = MEMBER_BYTES) -> Iterator[View]:
    try:
        yield View(name, 0, file.read(most))
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile):
        return
