"""The server that the proxy forwards to, and the URL of a request to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from yarl import URL


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

    def __str__(self) -> str:
        return f"{self.origin}{self.base}"
