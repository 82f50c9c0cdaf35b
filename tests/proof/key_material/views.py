"""What some bytes say once an encoding is undone: escapes, percent signs, UTF-16, base64, hexadecimal, archives."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from binascii import a2b_base64, unhexlify
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO
from urllib.parse import unquote_to_bytes

from tests.proof.key_material.shapes import der_keys, plain

# What is taken out of an archive is bounded: what unpacks to more than this holds something else than keys.
MEMBER_BYTES = 64 << 20
ARCHIVE_BYTES = 256 << 20
_RUN = re.compile(rb"[A-Za-z0-9+/_-]{40,}")
_ESCAPE = re.compile(rb"\\+(?:(?:x|u00)([0-9A-Fa-f]{2})|([\"'/0abfnrtv]))")
_CONTROL = dict(zip(b"0abfnrtv", (b"\0", b"\a", b"\b", b"\f", b"\n", b"\r", b"\t", b"\v"), strict=True))
_ENCODED = re.compile(rb"\\(?:x|u00)[0-9A-Fa-f]{2}|%(?:[23][0-9A-Fa-f]|0[ADad])")
_REACH = 8 << 10
_PERCENT = re.compile(rb"%(?:[23][0-9A-Fa-f]|0[ADad])")
_WIDE = re.compile(rb"(?:[\t\n\r -~]\x00){24,}")
_WIDE_HEADER = "PRIVATE KEY".encode("utf-16-le")
_TEXT = re.compile(rb"[\t\n\r -~]{24,}")
_DIGITS = re.compile(rb"[0-9A-Fa-f]{40,}")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_GZIP, _ZIP, _ZLIB = b"\x1f\x8b\x08", b"PK\x03\x04", (b"\x78\x01", b"\x78\x9c", b"\x78\xda")
# How reading ends where something only begins like an archive.
_NO_ARCHIVE = (OSError, EOFError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile)
_ARCHIVES = (_GZIP, _ZIP, *_ZLIB)


@dataclass(frozen=True, slots=True)
class View:
    """Bytes with one encoding undone.

    Attributes:
        name: which.
        offset: where in the bytes before it begins.
        begins: or, where that takes time to find out, what is there.
        plain: whether no escapes are left in it.
        text: whether it is something that was written, and so may hold another encoding. Else it is what any text
            becomes when it is taken for base64, and only the shapes of keys in binary are looked for.
    """

    name: str
    offset: int
    data: bytes
    text: bool = True
    plain: bool = False
    begins: bytes = b""


def views(data: bytes, *, plainly: bool = False) -> Iterator[View]:
    """All of them. `plainly` says that no escapes are left in it."""
    yield from archived(data)
    if not plainly:
        yield from _unescaped_views(data)
    if _WIDE_HEADER in data or data.count(b"\0") * 4 > len(data):
        for wide in _WIDE.finditer(data):
            yield View("UTF-16", wide.start(), wide.group()[::2])
    yield from _runs(data)


def _unescaped_views(data: bytes) -> Iterator[View]:
    """A text without its escapes, and that without its percent signs: all of either at once, however they nest."""
    for at, text in _around(data, _ENCODED):
        unescaped = _ESCAPE.sub(_unescaped, text)
        if unescaped != text:
            yield View("escapes", at, unescaped, plain=True)
        if not _PERCENT.search(unescaped):
            continue
        yield View("percent signs", at, _unquoted(unescaped), plain=True)
        if b"+" in unescaped:
            yield View("a form", at, _unquoted(unescaped.replace(b"+", b" ")), plain=True)


def _unquoted(text: bytes) -> bytes:
    while (unquoted := unquote_to_bytes(text)) != text:
        text = unquoted
    return text


def _around(data: bytes, pattern: re.Pattern[bytes]) -> Iterator[tuple[int, bytes]]:
    """What stands around the matches, as far as a key may reach; where they are close, it is one piece."""
    begin = end = 0
    for match in pattern.finditer(data):
        if match.start() > end:
            if end:
                yield begin, data[begin:end]
            begin = max(end, match.start() - _REACH)
        end = match.end() + _REACH
    if end:
        yield begin, data[begin:end]


def _runs(data: bytes) -> Iterator[View]:
    """What base64 and hexadecimal stand for. A line's end does not end either.

    Where in a run the base64 begins nobody knows: a path before it is of the same letters. So each of the four
    beginnings is tried. Three of them give noise, which is looked at as a whole, and in pieces where a key is in it.
    """
    joined = plain(data).translate(None, b"\r\n\\")
    noise: list[tuple[bytes, bytes]] = []
    for run in _RUN.findall(joined):
        begins = run[:16]  # a line's end may be in the rest of it
        standard = run.translate(_STANDARD)
        for skipped in range(4 if _DIGITS.fullmatch(run) is None else 0):
            last = len(standard) - ((len(standard) - skipped) % 4 == 1)
            decoded = a2b_base64(standard[skipped:last] + b"==")
            if decoded.startswith(_ARCHIVES):
                yield View("base64", 0, decoded, begins=begins)
            elif _speaks(decoded):
                for text in _TEXT.findall(decoded):
                    yield View("base64", 0, text, begins=begins)
            noise.append((begins, decoded))
        for digits in _DIGITS.findall(run):
            for skipped in range(2):
                decoded = unhexlify(digits[skipped : skipped + (len(digits) - skipped) // 2 * 2])
                if _speaks(decoded):
                    yield View("hexadecimal", 0, decoded, begins=begins)
                noise.append((begins, decoded))
    if any(der_keys(bytes(8).join(decoded for _, decoded in noise))):
        for begins, decoded in noise:
            yield View("base64 or hexadecimal", 0, decoded, text=False, begins=begins)


def _speaks(decoded: bytes) -> bool:
    """Whether there is a text in it: noise is not ASCII for so long. A path before it makes noise of a part."""
    middle = len(decoded) // 2
    return decoded[:16].isascii() or decoded[-16:].isascii() or decoded[middle : middle + 16].isascii()


def _unescaped(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode()) if match[1] else _CONTROL.get(match[2][0], match[2])


def archived(data: bytes) -> Iterator[View]:
    """What an archive holds."""
    if data.startswith(_ZIP):
        with io.BytesIO(data) as file:
            yield from members(file)
    elif data.startswith((_GZIP, *_ZLIB)):
        unpacking = zlib.decompressobj(wbits=47)  # either; and what follows it or is missing from its end does no harm
        try:
            yield View("gzip or deflate", 0, unpacking.decompress(data, MEMBER_BYTES))
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
    except _NO_ARCHIVE:
        return


def _unpacked(name: str, file: IO[bytes], most: int = MEMBER_BYTES) -> Iterator[View]:
    try:
        yield View(name, 0, file.read(most))
    except _NO_ARCHIVE:
        return
