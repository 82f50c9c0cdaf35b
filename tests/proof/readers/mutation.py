"""How a valid input is spoilt: by its bytes, and by what it is made of (JSON, PEM, DER), to reach deep code."""

from __future__ import annotations

import base64
import json
import re
from random import Random
from typing import Any

# What readers trip over: each has been somebody's bug.
TOKENS = (
    *(b"\0", b"\n", b"\r\n", b"\t", b" ", b"\x1b[2J", b"\x7f", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xe2\x80\xae"),
    *(b'"', b"'", b"\\", b"{", b"}", b"[", b"]", b",", b":", b";", b"=", b"%", b"%00", b"%2e%2e/", b"../", b"#", b"?"),
    *(b"null", b"true", b"NaN", b"-1", b"0", b"1e999", b"9" * 30, b"9" * 5000, b"0x", b"-0", b"1_0", b"\xc2\xb2"),
    *(b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----", b"-----BEGIN PRIVATE KEY-----", b"-----"),
    *(b"&a ", b"*a", b"<<: ", b"!!python/object:os.system ", b"- ", b"? ", b"|\n", b"\xef\xbb\xbf", b"\xff\xfe"),
    *(b"\\ud800", b"\\u001b", b"\\n", b"rate(", b"*", b"**", b"/", b"//", b".", b"CN=", b"+", b"A" * 300),
)
_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**63, 10**30, 0.5, -0.0, 1e308, "", " ", "0", "-1", "x" * 100, "x" * 3000),
    *("\ud800", "a\ud800\nb", "\x1b[2J", "\x00", "\x7f", "\u202e", "\x85", "a\nb", "²", "٣", "é", "CN=x", "9" * 5000),
    *("2026-01-01T00:00:00", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z", "P1D"),
    *([], [None], [[]], [1, "a"], {}, {"": None}, {"a": {"b": []}}, {"\n": 1}, {"\ud800": 1}, {"PRIVATE KEY": 1}),
)
_PEM = re.compile(rb"(-----BEGIN [A-Z0-9 ]{1,40}-----)([A-Za-z0-9+/=\s]{1,100000}?)(-----END [A-Z0-9 ]{1,40}-----)")


def mutate(data: bytes, random: Random, others: list[bytes]) -> bytes:
    """A spoilt copy; `others` are inputs to take parts from."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        way = random.choice((_json, _json, _pem, _pem, _bytes))
        data = way(data, random, others)
    return data


def _bytes(data: bytes, random: Random, others: list[bytes]) -> bytes:
    start = random.randrange(len(data) + 1)
    end = min(len(data), start + random.choice((1, 1, 2, 4, 16, 200)))
    match random.randrange(7):
        case 0:
            return data[:start] + data[end:]
        case 1:
            return data[:start] + random.choice(TOKENS) + data[start:]
        case 2:
            return data[:start] + random.choice(TOKENS) + data[end:]
        case 3:
            return data[:start] + data[start:end] * random.choice((2, 3, 50)) + data[end:]
        case 4 if start < len(data):
            return data[:start] + bytes([data[start] ^ (1 << random.randrange(8))]) + data[start + 1 :]
        case 5:
            other = random.choice(others)
            return data[:start] + other[random.randrange(len(other) + 1) :]
        case _:
            return data[:start]


# JSON -----------------------------------------------------------------------------------------------------------------


def _json(data: bytes, random: Random, others: list[bytes]) -> bytes:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return _bytes(data, random, others)
    if not isinstance(document, dict | list):
        return _bytes(data, random, others)
    holder, key = random.choice(list(_places(document)) or [([document], 0)])
    _change(holder, key, random, others)
    return json.dumps(document, ensure_ascii=random.random() < 0.8).encode("utf-8", "surrogatepass")


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Every member, as what holds it and its key."""
    found: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting and len(found) < 5000:
        holder = waiting.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])
    return found


def _change(holder: Any, key: Any, random: Random, others: list[bytes]) -> None:
    value = holder[key]
    match random.randrange(6):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[random.choice(("", "x", "\n", f"{key} ", str(key).upper(), "\x1b", "é" * 40))] = holder.pop(key)
        case 2 | 3 if isinstance(value, str):
            text = value.encode("utf-8", "surrogatepass")
            changed = mutate(text, random, others) if len(text) < 100_000 else text[:10]
            holder[key] = changed.decode("utf-8", random.choice(("replace", "surrogateescape")))
        case 4 if isinstance(value, list):
            holder[key] = value * random.choice((2, 10))
        case _:
            holder[key] = random.choice(_ODD)


# PEM and DER ----------------------------------------------------------------------------------------------------------


def _pem(data: bytes, random: Random, others: list[bytes]) -> bytes:
    blocks = list(_PEM.finditer(data))
    if not blocks:
        changed = _der(data, random)
        return _bytes(data, random, others) if changed is None else changed
    block = random.choice(blocks)
    try:
        der = base64.b64decode(block[2])
    except ValueError:
        return _bytes(data, random, others)
    changed = _der(der, random)
    if changed is None:
        return _bytes(data, random, others)
    return data[: block.start()] + block[1] + b"\n" + base64.encodebytes(changed) + block[3] + data[block.end() :]


def _der(der: bytes, random: Random) -> bytes | None:
    tree = parsed(der)
    if tree is None:
        return None
    nodes = [tree]
    for node in nodes:
        if isinstance(node[1], list):
            nodes += node[1]
    node = random.choice(nodes)
    match random.randrange(6):
        case 0:
            node[0] = random.choice(
                (node[0] ^ 1 << random.randrange(8), 0x02, 0x04, 0x05, 0x0C, 0x13, 0x16, 0x30, 0x1E)
            )
        case 1 if isinstance(node[1], list) and node[1]:
            node[1].pop(random.randrange(len(node[1])))
        case 2 if isinstance(node[1], list) and node[1]:
            node[1] *= random.choice((2, 2, 20))
        case 3 if isinstance(node[1], list) and node[1]:
            node[1].insert(random.randrange(len(node[1])), random.choice(nodes))
            if _deep(node):
                return None
        case 4 if isinstance(node[1], bytes) and node[1]:
            at = random.randrange(len(node[1]))
            node[1] = node[1][:at] + bytes([random.randrange(256)]) + node[1][at + 1 :]
        case _:
            node[1] = random.choice(
                (
                    b"",
                    b"\0",
                    b"\xff",
                    b"\x80",
                    b"\x01" * 21,
                    b"\x7f" * 2000,
                    b"\x1b[2J\n",
                    b"99991231235959Z",
                    b"000101",
                )
            )
    return encoded(tree)


def _deep(node: Any, seen: tuple[int, ...] = ()) -> bool:
    """Whether a node is within itself."""
    if id(node) in seen:
        return True
    return isinstance(node[1], list) and any(_deep(it, (*seen, id(node))) for it in node[1])


def parsed(der: bytes) -> list[Any] | None:
    """DER as [tag, children or content]; None if it is none."""
    nodes = _nodes(der)
    return nodes[0] if nodes and len(nodes) == 1 else None


def _nodes(der: bytes, depth: int = 0) -> list[list[Any]] | None:
    nodes: list[list[Any]] = []
    at = 0
    while at < len(der):
        if at + 2 > len(der) or der[at] & 0x1F == 0x1F:
            return None
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            count = length & 0x7F
            if not 0 < count < 5:
                return None
            length, at = int.from_bytes(der[at : at + count]), at + count
        content, at = der[at : at + length], at + length
        if len(content) < length:
            return None
        # What is in an OCTET STRING or a BIT STRING is DER, often.
        inner = _nodes(content, depth + 1) if depth < 30 and (tag & 0x20 or tag == 0x04) and content else None
        nodes.append([tag, content if inner is None else inner])
    return nodes


def encoded(node: list[Any]) -> bytes:
    """A node as DER, the lengths made anew."""
    tag, content = node
    body = b"".join(map(encoded, content)) if isinstance(content, list) else content
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + body
