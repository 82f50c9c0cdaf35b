"""Everything that reads what others wrote. Each module has a few readers of one kind, with inputs that are valid.

A reader takes bytes as they come in, and goes as deep as can be gone without a network. It promises to refuse with an
error of the project's own, in words that hold no key and move no terminal, and to take time and memory in proportion.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from random import Random
from types import ModuleType

from mtls_rotation.pki import certificates as pki
from tests.kit import builders
from tests.proof.readers.bombs import Bombs
from tests.proof.readers.kinds import Drawn

_MODULES = (
    "secrets",
    "pem",
    "signed",
    "revocation",
    "state",
    "gateway",
    "events",
    "command_line",
    "command_lines",
    "sidecar",
    "sidecar_http",
    "sidecar_paths",
    "shell",
    "clients",
    "kept",
    "policies",
)
# The longest text of an error. A line of a log may have 256 KiB, an event too.
LONGEST = 16_384
# This much of a key in a row, in base64, is no coincidence.
_TELLING = 16


@dataclass(frozen=True)
class Reader:
    """Something that reads.

    Attributes:
        read: reads, and may fail an assertion about what came of it.
        samples: inputs that are taken, and a few that are refused late.
        modules: where its own code is, for the lines that were reached.
        refusals: the errors that it may raise.
        bombs: inputs that a careless reader would choke on, by name.
        largest: the most that a bomb is to have, in bytes: what AWS lets through, or what takes a careful reader a
            second.
        lines: whether an error may have several lines, one for each mistake.
        fits: reads what is fit, and fails an assertion where a part of it was passed over.
        draw: draws an input of the kinds that people's files are of, and says whether it must be taken.
    """

    name: str
    read: Callable[[bytes], object]
    samples: Sequence[bytes]
    modules: tuple[ModuleType, ...]
    refusals: tuple[type[Exception], ...] = ()
    bombs: Bombs = field(default_factory=dict)
    largest: int = 4 << 20
    lines: bool = False
    draw: Callable[[Random], Drawn] | None = None
    fits: Callable[[bytes], object] | None = None


def readers() -> Iterator[Reader]:
    """All of them."""
    for name in _MODULES:
        yield from import_module(f"{__name__}.{name}").readers()


def problem(reader: Reader, data: bytes, *, fit: bool = False) -> str:
    """What is wrong with how a reader takes an input; empty if nothing is.

    Args:
        reader: the reader.
        data: the input.
        fit: whether it must be taken.
    """
    try:
        reader.read(data)
        if fit and reader.fits:
            reader.fits(data)
    except reader.refusals as error:
        if fit:
            return f"a refusal of what is fit: {error}"
        return _problem_of_text(str(error), lines=reader.lines)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a panic of a library in Rust is no Exception
        return f"{type(error).__name__} at {_place(error)}: {str(error)[:200]!r}"
    return ""


def _place(error: BaseException) -> str:
    """The last line of our own that it came through."""
    found, trace = "?", error.__traceback__
    while trace is not None:
        path, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        if ours := re.search(r"(mtls_rotation|mtls_client|mtls_sidecar|mtlsctl|functions|readers)/.*", path):
            found = f"{ours[0]}:{line}"
        trace = trace.tb_next
    return found


def _problem_of_text(text: str, *, lines: bool) -> str:
    if len(text) > LONGEST:
        return f"an error of {len(text)} characters: {text[:100]!r}"
    if lines:
        text = text.replace("\n", " ")
    if odd := next((it for it in text if unicodedata.category(it) in {"Cc", "Cf", "Cs", "Zl", "Zp"}), None):
        at = text.index(odd)
        return f"an error with the character {odd!r}: {text[max(0, at - 60) : at + 20]!r}"
    if any(text[at : at + _TELLING] in keys() for at in range(0, len(text) - _TELLING, 1) if _is_base64(text, at)):
        return "an error that quotes a private key"
    return ""


def _is_base64(text: str, at: int) -> bool:
    return bool(re.fullmatch(rf"[A-Za-z0-9+/=]{{{_TELLING}}}", text[at : at + _TELLING]))


@cache
def client() -> pki.CertifiedKey:
    """A client's certificate, whose key is in the samples: it must not come out in an error."""
    return builders.leaf(ca(), dns_names=["billing.example"], uris=["spiffe://example.com/billing"])


@cache
def ca() -> pki.CertifiedKey:
    """Its CA."""
    return builders.root("Fuzz CA")


@cache
def keys() -> str:
    """The base64 of the secret numbers in the samples: around them is what all keys have, and the public key."""
    parts = []
    for it in (client(), ca()):
        body = "".join(pki.key_to_pem(it.key).splitlines()[1:-1])
        parts.append(body[_offset(36) : _offset(36 + 32)])
    return "\n".join(parts)


def _offset(count: int) -> int:
    """Where in the base64 of a P-256 key's PKCS #8 this many bytes end: the secret number is behind the first 36."""
    return len(base64.b64encode(b"0" * count).rstrip(b"="))
