"""Which header fields pass through the proxy, and which belong to one connection only: RFC 9110, 7.6."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aiohttp import HttpVersion
from multidict import CIMultiDict, MultiMapping

PSEUDONYM = "mtls-sidecar"

# RFC 9110, 7.6.1; and those that older specifications count among them. Trailer, as trailers are not passed on.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NO_WORD = re.compile(r"[^a-z0-9]")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# Host is the upstream's, the length is told by the body, and what a client expects is answered here: RFC 9110, 10.1.1.
_ANSWERED_HERE = frozenset({"host", "content-length", "expect"})


# By which some servers take another path than the request line has: a way out of a base path.
_OTHER_PATHS = frozenset({"x-original-url", "x-rewrite-url"})


class UnfitFieldError(ValueError):
    """A field cannot be passed on as it is. The message names it."""


def folded(name: str) -> str:
    """What a name is compared by. CGI, WSGI and their like hand "X_User" and "x-user" on as one HTTP_X_USER.

    Some, such as lighttpd, make an underscore of whatever is neither letter nor digit: "X.User" and "X+User" as well.
    """
    return _NO_WORD.sub("-", name.lower())


def for_upstream(fields: MultiMapping[str], version: HttpVersion, *, below_base: bool = False) -> CIMultiDict[str]:
    """The fields of a request as they go to the upstream.

    Args:
        fields: of the request that came in.
        version: of HTTP, with which it came.
        below_base: whether requests are held to a base path, so that no field may name another path.

    Raises:
        UnfitFieldError: a value is not UTF-8, or holds a control character.
    """
    return _passed_on(fields, _ANSWERED_HERE | _OTHER_PATHS if below_base else _ANSWERED_HERE, version)


def for_client(fields: MultiMapping[str], version: HttpVersion) -> CIMultiDict[str]:
    """The fields of an answer as they go to the client.

    Args:
        fields: of the upstream's answer.
        version: of HTTP, with which it came.

    Raises:
        UnfitFieldError: a value is not UTF-8 or holds a control character, or the answer's transfer coding is not
            understood.
    """
    coding = fields.get("Transfer-Encoding")
    if coding is None:
        return _passed_on(fields, frozenset(), version)
    if coding.strip().lower() != "chunked":
        raise UnfitFieldError("Transfer-Encoding")  # of which only the chunks would have been taken off
    # The length that stands beside it is not the body's: RFC 9112, 6.3.
    return _passed_on(fields, frozenset({"content-length"}), version)


def _passed_on(fields: MultiMapping[str], left_out: frozenset[str], version: HttpVersion) -> CIMultiDict[str]:
    dropped = _HOP_BY_HOP | left_out | set(_named_by_connection(fields))
    passed: CIMultiDict[str] = CIMultiDict()
    spelling: dict[str, str] = {}
    for name, value in fields.items():
        lower = name.lower()
        if folded(name) in dropped:
            continue
        if not _is_text(value):
            raise UnfitFieldError(name)
        # aiohttp replaces a field by one that is spelled otherwise.
        passed.add(spelling.setdefault(lower, name), value)
    passed.add(spelling.get("via", "Via"), f"{version.major}.{version.minor} {PSEUDONYM}")
    return passed


def _named_by_connection(fields: MultiMapping[str]) -> Iterator[str]:
    for value in fields.getall("Connection", ()):
        for name in value.split(","):
            yield folded(name.strip())


def _is_text(value: str) -> bool:
    """Whether it can be written again: aiohttp reads fields as UTF-8, and marks every other byte by a surrogate.

    Nor does it write a control character, but for a tab (RFC 9110, 5.5).
    """
    if _CONTROL.search(value):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
