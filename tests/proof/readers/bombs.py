"""Inputs that cost a careless reader more than their length: each is a function of its size in bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from tests.kit import builders
from tests.proof.readers.mutation import encoded, parsed

type Bomb = Callable[[int], bytes]
type Bombs = Mapping[str, Bomb]

_BEGIN, _END = b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n"
_KEY, _KEY_END = b"-----BEGIN PRIVATE KEY-----\n", b"-----END PRIVATE KEY-----\n"


def repeated(part: bytes, before: bytes = b"", after: bytes = b"") -> Bomb:
    """A part again and again."""
    return lambda size: before + part * (size // len(part)) + after


# Of readers that draw what they read, from what they are given.
SEEDS = tuple(b"%d" % it for it in range(20))
SEED_BOMBS: Bombs = {"a long seed": repeated(b"7"), "zeros": repeated(b"\0")}


@cache
def _sample() -> Any:
    made = builders.leaf(builders.root("Bomb CA"), dns_names=["a.example"])
    return made.certificate


@cache
def _certificate() -> bytes:
    pem: bytes = _sample().public_bytes(Encoding.PEM)
    return pem


PEM: Bombs = {
    "begins without end": repeated(_BEGIN),
    "one begin without end": repeated(b"A", _BEGIN),
    "ends without begin": repeated(_END),
    "begins, then ends": lambda size: _BEGIN * (size // 56) + _END * (size // 56),
    "nested once in each": repeated(_BEGIN + _BEGIN + _END),
    "alternating labels": repeated(_BEGIN + _KEY_END),
    "begins of keys": repeated(_KEY),
    "empty blocks": repeated(_BEGIN + _END),
    "no block but dashes": repeated(b"-"),
    "beginnings of begins": repeated(b"-----BEGIN "),
    "one label without end": repeated(b"A ", b"-----BEGIN "),
    "white space": repeated(b" \n\t"),
    "white space in a block": repeated(b" \n", _BEGIN, _END),
    "one long line": repeated(b"QUFB", _BEGIN, b"\n" + _END),
    "one long line, no block": repeated(b"QUFB"),
    "zeros": repeated(b"\0"),
    "colons in a block": repeated(b"a: b\n", _BEGIN, _END),
    "the same certificate": lambda size: _certificate() * (1 + size // len(_certificate())),
    "a certificate, then begins": lambda size: _certificate() + _BEGIN * (size // len(_BEGIN)),
}


def _changed(change: Callable[[list[Any], int], None]) -> Bomb:
    """A certificate whose TBSCertificate is changed."""

    def bomb(size: int) -> bytes:
        tree = parsed(_sample().public_bytes(Encoding.DER))
        assert tree is not None
        change(tree[1][0][1], size)
        return _BEGIN + base64.encodebytes(encoded(tree)) + _END

    return bomb


def _extension(tbs: list[Any], oid: bytes) -> Any:
    (found,) = (it for it in tbs[-1][1][0][1] if it[1][0][1] == oid)
    return found[1][-1]


def _serial(tbs: list[Any], size: int) -> None:
    tbs[1][1] = b"\x7f" * (size * 3 // 4)


def _negative_serial(tbs: list[Any], size: int) -> None:
    tbs[1][1] = b"\x80" * (size * 3 // 4)


def _many_attributes(tbs: list[Any], size: int) -> None:
    tbs[5][1] = deepcopy(tbs[5][1]) * (size // 28)


def _one_deep_rdn(tbs: list[Any], size: int) -> None:
    tbs[5][1] = [[0x31, deepcopy(tbs[5][1][0][1]) * (size // 28)]]


def _long_attribute(tbs: list[Any], size: int) -> None:
    tbs[5][1][0][1][0][1][1] = [0x0C, b",\x1b" * (size * 3 // 8)]


def _many_names(tbs: list[Any], size: int) -> None:
    names = [[0x82, b"%d.example" % number] for number in range(size // 20)]
    _extension(tbs, b"\x55\x1d\x11")[1] = [[0x30, names]]


def _deep_names(tbs: list[Any], size: int) -> None:
    inner: bytes = b""
    for _ in range(min(size // 8, 20_000)):
        inner = encoded([0xA4, inner])
    _extension(tbs, b"\x55\x1d\x11")[1] = [[0x30, inner]]


def _many_extensions(tbs: list[Any], size: int) -> None:
    def one(number: int) -> list[Any]:
        return [0x30, [[0x06, b"\x2a\x03" + bytes([0x80 | number >> 7 & 0x7F, number & 0x7F])], [0x04, b"\x05\x00"]]]

    tbs[-1][1][0][1] += [one(number) for number in range(min(size // 14, 16_000))]


def _long_period(tbs: list[Any], size: int) -> None:
    tbs[4][1][1] = [0x18, b"9" * (size * 3 // 4)]


def _long_key(tbs: list[Any], size: int) -> None:
    rsa = [0x30, [[0x06, bytes.fromhex("2a864886f70d010101")], [0x05, b""]]]
    modulus = encoded([0x30, [[0x02, b"\x7f" * (size * 3 // 4)], [0x02, b"\x01\x00\x01"]]])
    tbs[6][1] = [rsa, [0x03, b"\0" + modulus]]


CERTIFICATES: Bombs = {
    "huge serial number": _changed(_serial),
    "huge negative serial number": _changed(_negative_serial),
    "subject of many attributes": _changed(_many_attributes),
    "subject of one attribute set": _changed(_one_deep_rdn),
    "subject of one long attribute": _changed(_long_attribute),
    "many alternative names": _changed(_many_names),
    "deep alternative names": _changed(_deep_names),
    "many extensions": _changed(_many_extensions),
    "a long date": _changed(_long_period),
    "a huge RSA key": _changed(_long_key),
}

JSON: Bombs = {
    "lists without end": repeated(b"["),
    "deep lists": lambda size: b"[" * (size // 2) + b"]" * (size // 2),
    "objects without end": repeated(b'{"a":'),
    "deep objects": lambda size: b'{"a":' * (size // 6) + b"1" + b"}" * (size // 6),
    "digits": repeated(b"9"),
    "digits after a point": repeated(b"9", b"0."),
    "a huge exponent": repeated(b"9", b"1e"),
    "digits in a list": repeated(b"9", b"[", b"]"),
    "a text without end": repeated(b"a", b'"'),
    "escapes": repeated(b"\\u0000", b'{"a": "', b'"}'),
    "backslashes": repeated(b"\\", b'{"a": "'),
    "many members": lambda size: json.dumps({f"m{number}": 0 for number in range(size // 12)}).encode(),
    "the same member": repeated(b'"a":0,', b"{", b'"b":0}'),
    "many elements": repeated(b"{},", b"[", b"{}]"),
    "white space": repeated(b" \n", b"{", b"}"),
    "zeros": repeated(b"\0"),
}


def within(document: Any, *path: str | int, bombs: Bombs = PEM) -> Bombs:
    """Bombs of text as one member of a JSON document."""

    def placed(bomb: Bomb) -> Bomb:
        def made(size: int) -> bytes:
            whole = deepcopy(document)
            holder = whole
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = bomb(size).decode("latin-1")
            return json.dumps(whole).encode()

        return made

    return {f"{'.'.join(map(str, path))}: {name}": placed(bomb) for name, bomb in bombs.items()}


def members(document: Any, *path: str | int) -> Bombs:
    """One member of a JSON document as a list, an object or a text that is long or deep."""

    def placed(value: Callable[[int], str]) -> Bomb:
        def made(size: int) -> bytes:
            whole = deepcopy(document)
            holder = whole
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = "@here@"
            return json.dumps(whole).replace('"@here@"', value(size)).encode()

        return made

    values: dict[str, Callable[[int], str]] = {
        "deep lists": lambda size: "[" * (size // 2) + "]" * (size // 2),
        "many elements": lambda size: json.dumps([f"n{number}.example" for number in range(size // 16)]),
        "the same elements": lambda size: json.dumps(["a"] * (size // 5)),
        "many members": lambda size: json.dumps({f"m{number}": "a" for number in range(size // 12)}),
        "a long text": lambda size: json.dumps("a" * size),
        "a long text of controls": lambda size: json.dumps("\x1b\n" * (size // 8)),
        "a long name": lambda size: json.dumps(".".join(["a"] * (size // 2))),
        "commas": lambda size: json.dumps("CN=a," * (size // 5)),
        "percents": lambda size: json.dumps("/%25" * (size // 4)),
        "slashes": lambda size: json.dumps("/" * size),
        "a huge number": lambda size: "9" * size,
        "digits in a text": lambda size: json.dumps("9" * size),
    }
    return {f"{'.'.join(map(str, path))}: {name}": placed(value) for name, value in values.items()}


YAML: Bombs = {
    "aliases of aliases": lambda size: (
        b"a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        + b"".join(
            b"a%d: &a%d [%s]\n" % (level, level, b",".join([b"*a%d" % (level - 1)] * 9)) for level in range(1, 10)
        )
    ),
    "merges of merges": lambda size: (
        b"a0: &a0 {x0: 1}\n"
        + b"".join(
            b"a%d: &a%d {<<: [%s]}\n" % (level, level, b",".join([b"*a%d" % (level - 1)] * 9)) for level in range(1, 10)
        )
    ),
    "many aliases": lambda size: b"a: &a " + b"x" * (size // 2) + b"\nb: [" + b"*a," * (size // 6) + b"x]\n",
    "sexagesimals": repeated(b":59", b"a: 1"),
    "sexagesimal fractions": repeated(b":59", b"a: 1", b".5"),
    "digits": repeated(b"9", b"a: "),
    "hexadecimal": repeated(b"f", b"a: 0x"),
    "underscores": repeated(b"_", b"a: 1"),
    "deep flow": repeated(b"[", b"a: "),
    "deep block": repeated(b"- "),
    "deep keys": repeated(b"? "),
    "many keys": lambda size: b"".join(b"k%d: 1\n" % number for number in range(size // 8)),
    "one key": repeated(b"a", b"", b": 1"),
    "anchors": lambda size: b"".join(b"k%d: &a%d 1\n" % (number, number) for number in range(size // 14)),
    "a block text": repeated(b"  a\n", b"a: |\n"),
    "a folded text": repeated(b"  a\n\n", b"a: >\n"),
    "a plain text of lines": repeated(b"a\n ", b"a: "),
    "quotes": repeated(b"''", b"a: '"),
    "comments": repeated(b"# a\n"),
    "documents": repeated(b"---\n"),
    "white space": repeated(b" \n"),
    "percents": repeated(b"%A\n"),
}
TOML: Bombs = {
    "deep arrays": repeated(b"[", b"secret = "),
    "closed deep arrays": lambda size: b"secret = " + b"[" * (size // 2) + b"]" * (size // 2),
    "deep tables": repeated(b"{a=", b"secret = "),
    "dotted keys": repeated(b"a.", b"", b"a = 1"),
    "dotted table": repeated(b"a.", b"[", b"a]"),
    "deep tables apart": lambda size: b"".join(
        b"[%s]\n" % b".".join([b"a"] * depth) for depth in range(1, int((size * 1.0) ** 0.5))
    ),
    "many keys": lambda size: b"".join(b"k%d = 1\n" % number for number in range(size // 9)),
    "many tables": lambda size: b"".join(b"[t%d]\n" % number for number in range(size // 8)),
    "array of tables": repeated(b"[[a]]\n"),
    "digits": repeated(b"9", b"check-every = "),
    "hexadecimal": repeated(b"f", b"check-every = 0x"),
    "digits of a fraction": repeated(b"9", b"check-every = 0."),
    "a text": repeated(b"a", b'secret = "', b'"'),
    "a text without end": repeated(b"a", b'secret = "'),
    "quotes": repeated(b'"', b"secret = "),
    "escapes": repeated(b"\\n", b'secret = "', b'"'),
    "commas": repeated(b"1,", b"secret = [", b"]"),
    "comments": repeated(b"# a\n"),
    "white space": repeated(b" \n"),
}
