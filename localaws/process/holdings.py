"""All that the emulator holds: `tests/proof/key_material` looks through it for private keys.

The emulator's modules are read, not AWS's calls: so no place is left out that a list of calls would forget, and nothing
that a call does not return.
"""

from __future__ import annotations

import hashlib
import json
import sys
from base64 import b64encode
from collections import deque
from collections.abc import Iterable, Iterator
from types import FunctionType, ModuleType
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

SERVICES = "ministack.services."
# Where private keys belong.
KEY_STORES = ("secretsmanager", "kms", "acm")
_LARGE = 4096


def answer() -> bytes:
    """Return everything as JSON: `held` has (place, base64), and `kept` the strings of Secrets Manager, KMS and ACM."""
    held: dict[bytes, tuple[str, str]] = {}
    for place, data in _contents(key_stores=False):
        held.setdefault(hashlib.sha256(data).digest(), (place, b64encode(data).decode()))
    kept = {text.decode(errors="replace") for _, text in _contents(key_stores=True)}
    return json.dumps({"held": list(held.values()), "kept": sorted(kept)}).encode()


def _contents(*, key_stores: bool) -> Iterator[tuple[str, bytes]]:
    """Yield each entry at the first level of each module: large values by themselves, the rest of it together."""
    for module_name, module in sorted(sys.modules.items()):
        if not module_name.startswith(SERVICES) or (_service(module_name) in KEY_STORES) != key_stores:
            continue
        for name, container in sorted(vars(module).items()):
            plain = getattr(container, "_data", container)
            if not isinstance(plain, dict | list | deque | set) or name.startswith("__"):
                continue
            for key, value in _entries(plain):
                place, small = f"{_service(module_name)}.{name} {_named(key)}", [_named(key).encode()]
                for leaf in _leaves(value, set()):
                    if key_stores or len(leaf) >= _LARGE:
                        yield place, leaf
                    else:
                        small.append(leaf)
                yield place, b"\n".join(small)


def _service(module: str) -> str:
    return module.removeprefix(SERVICES).partition(".")[0]


def _named(key: object) -> str:
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _entries(container: Any) -> Iterable[tuple[object, object]]:
    return list(container.items()) if isinstance(container, dict) else list(enumerate(list(container)))


def _leaves(value: Any, above: set[int]) -> Iterator[bytes]:
    """Yield the strings in a value, however deep, the names of its members included."""
    match value:
        case str():
            yield value.encode(errors="replace")
        case bytes() | bytearray() | memoryview():
            yield bytes(value)
        case None | bool() | int() | float() | FunctionType() | ModuleType() | type():
            return
        case _ if id(value) in above:
            return
        case _ if hasattr(value, "private_bytes"):
            yield value.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        case _:
            inner = getattr(value, "_data", value)
            if isinstance(inner, dict | list | tuple | set | frozenset | deque):
                for key, it in _entries(inner):
                    yield from _leaves(key, above)
                    yield from _leaves(it, above | {id(value)})
            elif hasattr(inner, "__dict__"):
                yield from _leaves(vars(inner), above | {id(value)})
