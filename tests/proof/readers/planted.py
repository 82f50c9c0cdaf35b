"""Readers with a fault each, for the fuzzer to be tried on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.proof.readers import Reader, client
from tests.proof.readers.bombs import JSON, repeated

_SQUARE = re.compile(r"(?s)BEGIN.*END")


class RefusedError(Exception):
    """What they may raise."""


def readers() -> Iterator[Reader]:
    """See `Reader`. Each is named for its fault."""
    from mtls_rotation.pki import certificates as pki

    key = {"count": "1", "name": "a", "key": pki.key_to_pem(client().key)}
    sample = json.dumps(key).encode()
    for name, read in {
        "an unguarded number": lambda document: int(document.get("count") or 0),
        "a missing member": lambda document: document["name"],
        "a quoted key": _quotes,
        "a control character": _shows,
    }.items():
        yield Reader(name, _guarded(read), [sample], (json,), (RefusedError,), {})
    yield Reader("levels without end", _levels, [sample], (json,), (RefusedError,), JSON, largest=1 << 15)
    yield Reader("a square of time", _square, [sample], (json,), (), {"begins": repeated(b"BEGIN ")}, largest=1 << 18)


def _guarded(read: Any) -> Any:
    def guarded(data: bytes) -> None:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            raise RefusedError("no JSON") from None
        if isinstance(document, dict):
            read(document)

    return guarded


def _quotes(document: dict[str, Any]) -> None:
    if "name" not in document:
        raise RefusedError(ascii(document))


def _shows(document: dict[str, Any]) -> None:
    if document.get("name") != "a":
        raise RefusedError(f"{document.get('name')}")


def _levels(data: bytes) -> None:
    try:
        json.loads(data)
    except ValueError:
        raise RefusedError("no JSON") from None


def _square(data: bytes) -> None:
    _SQUARE.search(data.decode("latin-1"))
