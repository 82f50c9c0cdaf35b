"""Files that an operator names on a command line: JSON, YAML, PEM. What is read is never quoted: it may hold a key."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from mtlsctl.errors import InvalidInputError

STANDARD_INPUT = "-"


class _Loader(yaml.SafeLoader):
    """YAML as its version 1.2 has it: NO is a country, a date is a text, and only true and false are what they say."""


_OTHERWISE = {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _OTHERWISE]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), list("tf"))


def read(path: str, option: str) -> bytes:
    """A file's content; that of the standard input for "-".

    Raises:
        InvalidInputError: it cannot be read.
    """
    try:
        return sys.stdin.buffer.read() if path == STANDARD_INPUT else Path(path).read_bytes()
    except OSError as error:
        raise InvalidInputError(
            where=option,
            found=f"{path}: {error.strerror}",
            expected="a file that can be read",
            remedy="Check the path; nothing was made.",
        ) from None


def text(path: str, option: str) -> str:
    """A file's content as text."""
    try:
        return read(path, option).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInputError(
            where=option,
            found=f"{path}, which is no UTF-8 text",
            expected="JSON, YAML or PEM",
            remedy="Convert it first, DER with `openssl x509 -inform der`; nothing was made.",
        ) from None


def mapping(content: str) -> dict[str, Any] | None:
    """The object in a JSON or YAML text; None if it is another text, or holds what JSON has no word for."""
    try:
        try:
            document = json.loads(content)
        except ValueError:
            document = json.loads(json.dumps(yaml.load(content, Loader=_Loader)))  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


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
                found=f"{part}, which is no object, in {path}",
                expected=f"{part} as docs/architecture.md shows it",
                remedy="Correct the file; nothing was made.",
            )
    return document
