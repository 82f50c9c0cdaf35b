"""The server that the proxy forwards to, and the URL of a request to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

from yarl import URL

_ENDS = re.compile(r"[/\\;]")
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
            bare = url.scheme == "https" and url.host and not (url.user or url.password)
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

        Some decode a path twice, take a backslash for a slash, and what follows a semicolon for a parameter.
        """
        path = target.partition("?")[0]
        for _ in range(_MOST_DECODINGS if self.base else 0):
            if any(segment.strip() in {".", ".."} for segment in _ENDS.split(path)):
                return True
            decoded = unquote(path, encoding="latin-1")
            if decoded == path:
                return False
            path = decoded
        return bool(self.base)  # nothing in use needs as many

    def __str__(self) -> str:
        return f"{self.origin}{self.base}"
