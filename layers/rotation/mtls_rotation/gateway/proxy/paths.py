"""Where a request goes: the upstream's own path with the rest of the caller's behind it, byte for byte. Pure.

The origin never comes from a caller, so a path cannot lead elsewhere. Paths that an upstream might read as leading out
of its base path are refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PREFIX = "/proxy/"
# A path as RFC 3986, section 3.3, has it.
_PATH = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*")
# Where a reader may end a segment: some take a backslash for a slash, and what follows ";" for a parameter.
_ENDS = re.compile(r"[/\\;]")
# What a presigned request says of its signature: whoever has it can make the same request.
_SIGNATURE = re.compile(r"x-amz-", re.IGNORECASE)
# How often a path may be decoded until nothing is left to decode. Nothing in use needs more.
_MOST_DECODINGS = 3
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# UTF-8 of more bytes than it takes, by which some readers take %c0%ae for a dot: RFC 3629, section 3, forbids it.
_OVERLONG = re.compile(r"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]|\xf0[\x80-\x8f][\x80-\xbf]{2}")


class UnusablePathError(ValueError):
    """A path that is not passed on. The message may be shown to the caller."""


def split(path: str) -> tuple[str, str]:
    """The route's name and the rest, as they were sent; the rest begins with "/" or is empty.

    Raises:
        UnusablePathError: it does not begin with "/proxy/" and a name.
    """
    name, slash, rest = path.removeprefix(PREFIX).partition("/")
    if not path.startswith(PREFIX) or not name:
        raise UnusablePathError("the path does not name a route: /proxy/ROUTE/...")
    return name, slash + rest


def is_plain(path: str) -> bool:
    """Whether a path has no characters or dot segments that a reader might understand in two ways."""
    return not _problem(path)


def target(upstream: str, rest: str, query: Iterable[tuple[str, str]] = ()) -> bytes:
    """The path and query to ask the upstream for.

    Args:
        upstream: the upstream's URL, of which the path is put before.
        rest: the caller's path behind the route's name, percent-encoded as it was sent.
        query: names and values, decoded, in order. Those of a caller's AWS signature are left out.

    Raises:
        UnusablePathError: the rest might lead out of the upstream's path, or is no path.
    """
    if problem := _problem(rest):
        raise UnusablePathError(problem)
    path = (urlsplit(upstream).path + rest) or "/"
    try:
        encoded = "&".join(
            f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query if not _SIGNATURE.match(name)
        )
    except UnicodeEncodeError:
        raise UnusablePathError("the query holds half a character (a surrogate), which no URL can") from None
    return f"{path}?{encoded}".encode("ascii") if encoded else path.encode("ascii")


def pairs(parameters: Mapping[str, Sequence[str]] | None) -> list[tuple[str, str]]:
    """API Gateway's `multiValueQueryStringParameters` as names and values."""
    return [(name, value) for name, values in (parameters or {}).items() for value in values]


def _problem(path: str) -> str:
    """Why a path is not passed on; empty if it is."""
    if not _PATH.fullmatch(path):
        return "the path holds characters that must be percent-encoded (RFC 3986, section 3.3)"
    # Some readers decode twice. No name that is in use anywhere decodes to dots or control characters.
    for _ in range(_MOST_DECODINGS):
        if _CONTROL.search(path):
            return "the path holds control characters"
        if _OVERLONG.search(path):
            return "the path holds characters in more bytes than UTF-8 has for them (RFC 3629, section 3)"
        if any(segment.strip() in {".", ".."} for segment in _ENDS.split(path)):
            return "the path holds dot segments (RFC 3986, section 3.3)"
        decoded = unquote(path, encoding="latin-1")
        if decoded == path:
            return ""
        path = decoded
    return "the path holds percent-encodings of percent-encodings"
