"""Header fields as RFC 9110 has them: names, values, and those that are for one connection. Calls nothing."""

from __future__ import annotations

import re

# RFC 9110, section 7.6.1, and what is in use beside it. They are for one connection.
HOP_BY_HOP = frozenset(
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
# What is said of the request by whoever sends it on: the length of the body, whom it is for, and by which way it came.
GATEWAYS_OWN = frozenset({"host", "content-length", "expect", "forwarded", "via"})
_NO_WORD = re.compile(r"[^a-z0-9]")
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def folded(name: str) -> str:
    """What a name is compared by. CGI, WSGI and their like hand "X_User" and "x-user" on as one HTTP_X_USER.

    Some, such as lighttpd, make an underscore of whatever is neither letter nor digit: "X.User" and "X+User" as well.
    """
    return _NO_WORD.sub("-", name.lower())


def is_name(text: str) -> bool:
    """Whether a text is a header's name: a token (RFC 9110, section 5.1)."""
    return bool(_NAME.fullmatch(text))


def is_value(text: str) -> bool:
    """Whether a text is a header's value: no line breaks, no other control characters (RFC 9110, section 5.5)."""
    return bool(_VALUE.fullmatch(text))
