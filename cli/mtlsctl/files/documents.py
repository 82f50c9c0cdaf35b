"""Files that an operator names on a command line: JSON, YAML, PEM. What is read is never quoted: it may hold a key."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from mtls_rotation.pki import bundles
from mtls_rotation.pki.certificates import to_pem
from mtlsctl.errors import InvalidInputError

STANDARD_INPUT = "-"
# As much as is read of a file: a device has no end, and a truststore of a thousand CAs has two MiB.
_MOST = 16 << 20


class _Loader(yaml.SafeLoader):
    """YAML 1.2: NO is a country, a date is a string, and only true and false are what they say."""


_INT = "tag:yaml.org,2002:int"
_OTHERWISE = {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:float", _INT}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _OTHERWISE]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver(_INT, re.compile("(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)
_Loader.add_constructor(_INT, lambda _, node: _number(node.value))
# An alias is a few characters, and may stand for all that is before it. Secrets Manager takes 64 KiB.
_LARGEST = 1 << 20


def _number(text: str) -> int:
    bases = {"0o": 8, "0x": 16}
    return int(text, bases.get(text[:2], 10))


def read(path: str, option: str) -> bytes:
    """A file's content; that of the standard input for "-".

    Raises:
        InvalidInputError: it cannot be read.
    """
    try:
        if path == STANDARD_INPUT:
            body = sys.stdin.buffer.read(_MOST + 1)
        else:
            with Path(path).open("rb") as file:
                body = file.read(_MOST + 1)
    except (OSError, ValueError) as error:  # a path with a NUL in it is a ValueError
        found = error.strerror if isinstance(error, OSError) else "no path"
        raise InvalidInputError(
            where=option,
            found=f"{path}: {found}",
            expected="a file that can be read",
            remedy="Check the path; nothing was made.",
        ) from None
    if len(body) > _MOST:
        raise InvalidInputError(
            where=option,
            found=f"{path}: more than {_MOST >> 20} MiB",
            expected="a file of certificates or a definition",
            remedy="Check the path; nothing was made.",
        )
    return body


def certificates(path: str, option: str) -> str:
    """The certificates of a bundle in PEM, and nothing of what is written between them, in whatever encoding.

    Raises:
        InvalidInputError: it cannot be read, or holds none.
    """
    found = bundles.certificates(read(path, option))
    if not found:
        raise InvalidInputError(
            where=f"{option} {path}",
            found="no certificate",
            expected="the PEM of CAs",
            remedy="Name another file, DER converted with `openssl x509 -inform der`, or leave the option out.",
        )
    return to_pem(*found.values())


def text(path: str, option: str) -> str:
    """A file's content as text: UTF-8. What is written between the blocks of PEM may be in any encoding.

    Raises:
        InvalidInputError: it cannot be read.
    """
    body = read(path, option)
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        pem = body.decode("ascii", "replace")
        if "-----BEGIN " in pem and mapping(pem) is None:
            return pem
        raise InvalidInputError(
            where=option,
            found=f"{path}, which is not UTF-8",
            expected="JSON, YAML or PEM",
            remedy="Convert it first, DER with `openssl x509 -inform der`; nothing was made.",
        ) from None


def mapping(content: str) -> dict[str, Any] | None:
    """The object in a JSON or YAML text; None if it is something else, or holds what JSON has no word for."""
    try:
        try:
            document = json.loads(content)
        except ValueError:
            document = json.loads(json.dumps(_yaml(content)))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _yaml(content: str) -> Any:
    """The document in a YAML text.

    Raises:
        YAMLError: there is none, or one that grows beyond measure when its aliases are written out.
    """
    loader = _Loader(content)
    try:
        node = loader.get_single_node()
        if node is None or _size(node) > _LARGEST:
            raise yaml.YAMLError
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _size(node: yaml.Node) -> int:
    """How many characters and nodes it has with its aliases written out; beyond the most, no longer counted."""
    size, waiting = 0, [node]
    while waiting and size <= _LARGEST:
        it = waiting.pop()
        size += 1
        if isinstance(it, yaml.MappingNode):
            waiting += [part for pair in it.value for part in pair]
        elif isinstance(it, yaml.SequenceNode):
            waiting += it.value
        else:
            size += len(it.value)
    return size


def definition(path: str) -> dict[str, Any]:
    """The definition of a secret in a file.

    Raises:
        InvalidInputError: the file holds none.
    """
    document = mapping(text(path, "--from"))
    if document is None:
        raise InvalidInputError(
            where="--from",
            found=f"{path}, which holds no JSON or YAML object",
            expected='an object with "request" and "issuer"; docs/architecture.md shows one',
            remedy="Correct the file; nothing was made.",
        )
    for part in ("request", "issuer", "endpoint"):
        if not isinstance(document.get(part, {}), dict):
            raise InvalidInputError(
                where="--from",
                found=f"{part}, which is not an object, in {path}",
                expected=f"{part} as docs/architecture.md shows it",
                remedy="Correct the file; nothing was made.",
            )
    return document
