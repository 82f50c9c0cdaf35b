"""The server that the proxy forwards to, and the URL of a request to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

from yarl import URL

# A name as DNS has them, or an address. Without a zone, which is for this machine alone: RFC 9844.
_HOST = re.compile(r"[A-Za-z0-9._-]{1,254}|\[[0-9A-Fa-f:.]{2,45}\]")
# What a path below a base path may be. The Lambda proxy holds its callers to the same rules, and tests/kit/nasty.py has
# the cases for both. This is a path as RFC 3986, section 3.3, has it.
_PATH = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*")
# Where a reader may end a segment: some take a backslash for a slash, and what follows a semicolon for a parameter.
_ENDS = re.compile(r"[/\\;]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# UTF-8 of more bytes than it takes, by which some readers take %c0%ae for a dot: RFC 3629, section 3, forbids it.
_OVERLONG = re.compile(r"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]|\xf0[\x80-\x8f][\x80-\xbf]{2}")
# How often a path may be decoded until nothing is left to decode. Nothing in use needs more.
_MOST_DECODINGS = 3


@dataclass(frozen=True, slots=True)
class Upstream:
    """An origin with the path that every request's path is put behind.

    Attributes:
        origin: scheme, host and port.
        base: such as `/v2`; empty for none.
    """

    origin: URL
    base: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `https://HOST[:PORT][/BASE]`.

        Raises:
            ValueError: it is anything else; the message says what was expected.
        """
        try:
            url = URL(text)
            bare = (
                url.scheme == "https"
                and _HOST.fullmatch(url.host_subcomponent or "")
                and not (url.user or url.password)
            )
        except ValueError:
            bare = False
        if not bare or "?" in text or "#" in text:
            raise ValueError("https://HOST[:PORT][/BASE], without user, query or fragment")
        return cls(url.origin(), url.raw_path.rstrip("/"))

    def url(self, target: str) -> URL:
        """Where a request with this target goes, to the byte.

        Args:
            target: the request's path with its query, as it came: RFC 9112, 3.2.1.
        """
        # All of it as the path: of a query apart, yarl would leave an empty one out, and `/a?` would become `/a`.
        return URL.build(
            scheme=self.origin.scheme,
            host=self.origin.host_subcomponent or "",  # an IPv6 address in its brackets
            port=self.origin.explicit_port,
            path=self.base + target,
            encoded=True,
        )

    def is_left_by(self, target: str) -> bool:
        """Whether a server might read this target as one outside of the base path. Without a base there is no outside.

        Some decode a path twice, end it at a NUL, take a backslash for a slash, or what follows a semicolon for a
        parameter. So what servers read in more than one way is taken for a way out.
        """
        return bool(self.base) and not _is_plain(target.partition("?")[0])

    def __str__(self) -> str:
        return f"{self.origin}{self.base}"


def _is_plain(path: str) -> bool:
    if not _PATH.fullmatch(path):
        return False
    for _ in range(_MOST_DECODINGS):
        if _CONTROL.search(path) or _OVERLONG.search(path):
            return False
        if any(segment.strip() in {".", ".."} for segment in _ENDS.split(path)):
            return False
        decoded = unquote(path, encoding="latin-1")
        if decoded == path:
            return True
        path = decoded
    return False
