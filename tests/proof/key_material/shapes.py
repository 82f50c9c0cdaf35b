"""Private keys by their shape, whosever they are: PEM, DER, OpenSSH's own form, and JWK.

Each pattern is looked for by a short literal first, and looked at closely where that is. What is looked at is how a key
goes on after its header: documents and source code are full of headers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

# PEM ------------------------------------------------------------------------------------------------------------------

_HEADER = re.compile(rb"-----BEGIN[ +_](?:[A-Z0-9]{1,12}[ +_])?PRIVATE[ +_]KEY-----")
_ARMOR = re.compile(rb"^(?:Proc-Type|DEK-Info|Comment)[^\r\n]*", re.MULTILINE)
_NEW_LINE = re.compile(rb"\\*[\r\n]+[ \t]*")
_BODY = re.compile(rb"[A-Za-z0-9+/]{24,}")
_SPAN = 600
_DISTINCT = 10  # characters: what stands for a body in an example ("AAAA...") has fewer


def _pem(data: bytes, at: int) -> tuple[int, str] | None:
    begin = data.rfind(b"-----BEGIN", max(0, at - 40), at)
    header = _HEADER.match(data, begin) if begin >= 0 else None
    if not header:
        return None
    text = plain(data[header.end() : header.end() + _SPAN]).partition(b"-----")[0]
    body = _BODY.match(_NEW_LINE.sub(b"", _ARMOR.sub(b"", text)).lstrip(b" \t\\"))
    if not body or len(set(body.group())) < _DISTINCT:
        return None
    return begin, f"{header.group().strip(b'-').decode().removeprefix('BEGIN').strip(' +_').lower()} as PEM"


def plain(text: bytes) -> bytes:
    """Line ends and slashes as they were before JSON, or a language, escaped them; how often does not matter."""
    if b"\\" not in text:
        return text
    return text.replace(b"\\n", b"\n").replace(b"\\r", b"\r").replace(b"\\/", b"/")


# DER ------------------------------------------------------------------------------------------------------------------


_OIDS = {
    bytes.fromhex("2a8648ce3d0201"): "EC",
    bytes.fromhex("2a864886f70d010101"): "RSA",
    bytes.fromhex("2a864886f70d01010a"): "RSA-PSS",
    bytes.fromhex("2a8648ce380401"): "DSA",
    bytes.fromhex("2b656e"): "X25519",
    bytes.fromhex("2b656f"): "X448",
    bytes.fromhex("2b6570"): "Ed25519",
    bytes.fromhex("2b6571"): "Ed448",
}


def _pkcs8(data: bytes, at: int) -> tuple[int, str] | None:
    """PrivateKeyInfo: a version, an algorithm, and the key as octets."""
    length, oid_length = data[at + 4], data[at + 6]
    name = _OIDS.get(data[at + 7 : at + 7 + oid_length])
    after = at + 5 + length
    return (at, f"{name} private key as PKCS#8") if name and data[after : after + 1] == b"\x04" else None


def _sec1(data: bytes, at: int) -> tuple[int, str] | None:
    """ECPrivateKey: in a sequence, the number 1 and the scalar."""
    short, long = data[at - 2 : at - 1] == b"\x30", data[at - 3 : at - 1] == b"\x30\x81"
    size = data[at + 4]
    scalar = data[at + 5 : at + 5 + size]
    whole = len(scalar) == size and len(set(scalar)) > size // 4
    return (at, "EC private key as SEC 1") if at >= 2 and (short or long) and whole else None


def _pkcs1(data: bytes, at: int) -> tuple[int, str] | None:
    """RSAPrivateKey: the number 0, and the modulus, which is as long as one can be and has its first bit set."""
    size = int.from_bytes(data[at + 5 : at + 7])
    modulus = 128 < size <= 1100 and data[at + 7] == 0 and data[at + 8] >= 0x80
    return (at, "RSA private key as PKCS#1") if modulus else None


def _encrypted(data: bytes, at: int) -> tuple[int, str] | None:
    """An encrypted one: its algorithm is a password's."""
    return (at, "encrypted private key as PKCS#8, or PKCS#12") if data[at - 2 : at - 1] == b"\x30" else None


def _openssh(data: bytes, at: int) -> tuple[int, str] | None:
    return at, "OpenSSH private key"


def _jwk(data: bytes, at: int) -> tuple[int, str] | None:
    return at, "private key as JWK"


type _Look = Callable[[bytes, int], tuple[int, str] | None]

# One pass for each alternative that begins alike: the literal beginnings are what makes it quick.
_DER = re.compile(
    rb"\x02\x01(?:"
    rb"(?P<pkcs8>[\x00\x01]\x30[\x05-\x7f]\x06[\x03-\x0a])"
    rb"|(?P<sec1>\x01\x04[\x1c\x20\x30\x42])"
    rb"|(?P<pkcs1>\x00\x02\x82))",
    re.DOTALL,
)
_LOOKS: dict[str, _Look] = {"pkcs8": _pkcs8, "sec1": _sec1, "pkcs1": _pkcs1}
_LITERALS: tuple[tuple[bytes, re.Pattern[bytes], _Look], ...] = (
    (b"PRIVATE", re.compile(rb"PRIVATE[ +_]KEY-----"), _pem),
    (b"openssh-key-v1", re.compile(rb"openssh-key-v1\0{4}[\x04-\x40]"), _openssh),
    (b'"d"', re.compile(rb'"d"\s*:\s*"[A-Za-z0-9_-]{38,}"'), _jwk),
)


# PBES2 of PKCS#5, and the older algorithms of PKCS#12.
_OF_PASSWORDS = (bytes.fromhex("06092a864886f70d01050d"), bytes.fromhex("060a2a864886f70d010c01"))


def keys(data: bytes) -> Iterator[tuple[int, str]]:
    """Where a private key begins, and of what kind it is."""
    for literal, pattern, look in _LITERALS:
        if literal in data:
            for match in pattern.finditer(data):
                if found := look(data, match.start()):
                    yield found
    yield from der_keys(data)


def der_keys(data: bytes) -> Iterator[tuple[int, str]]:
    """Those in DER alone."""
    for literal in _OF_PASSWORDS:
        if (at := data.find(literal)) >= 2 and (found := _encrypted(data, at)):
            yield found
    for match in _DER.finditer(data):
        try:
            found = _LOOKS[str(match.lastgroup)](data, match.start())
        except IndexError:
            continue  # it ends in the midst of a header
        if found:
            yield found
