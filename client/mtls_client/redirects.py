"""What a redirect to another origin takes along: neither the client certificate nor a body, unless it is named.

A server that redirects chooses whom the next request goes to. RFC 9110, section 15.4, leaves it to the client whether
to follow. An origin is a scheme, a host and a port (RFC 9110, section 4.3.1).
"""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mtls_client.errors import RefusedRedirectError, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

logger = logging.getLogger("mtls_client")

_PORTS = {"http": 80, "https": 443}
# RFC 6455, section 3: what a web socket begins as.
_WEB_SOCKETS = {"ws": "http", "wss": "https"}
# How many pairs of origins are told of in the log, each once.
_TOLD = 100


@dataclass(frozen=True, slots=True)
class Hop:
    """One request of those that follow each other by redirects.

    Attributes:
        origin: whom it is sent to, such as `https://api.example` or `https://api.example:8443`.
        kept: whether every redirect so far led to the same origin or to one that is named.
    """

    origin: str
    kept: bool = True

    @property
    def presents(self) -> bool:
        """Whether the connection is to have the client certificate."""
        return self.kept and self.origin.startswith("https:")

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Have an error say that the certificate stayed behind: that may be why there is one."""
        try:
            yield
        except Exception as error:
            if not self.kept:
                error.add_note(
                    f"The redirect to {self.origin} was followed without the client certificate. {_remedy(self.origin)}"
                )
            raise


class Redirects:
    """Decides for the requests of one certificate's users. Safe to be used by threads.

    Args:
        origins: those to which a redirect takes the certificate and the body along; see `ClientCertificate`.

    Raises:
        ValueError: one of them is no origin of https.
    """

    def __init__(self, origins: Collection[str]) -> None:
        if isinstance(origins, str):
            raise ValueError(f"redirect_origins is the text {origins!r}; it must be a list of origins")  # noqa: TRY004
        self._origins = frozenset(map(_named, origins))
        self._told: set[tuple[str, str]] = set()

    def follow(self, before: Hop | None, origin: str, *, has_body: bool) -> Hop:
        """What holds for a request.

        Args:
            before: the request whose answer redirected to this one; None if this one is the user's own.
            origin: whom this one is sent to, as `origin_of` has it.
            has_body: whether one would be sent with it.

        Raises:
            RefusedRedirectError: a redirect would take the body to another origin.
        """
        if before is None or before.origin == origin:
            return Hop(origin, kept=before is None or before.kept)
        if before.kept and origin in self._origins:
            return Hop(origin)
        if has_body:
            raise RefusedRedirectError(
                where=f"a redirect from {before.origin} to {origin}",
                found="a request with a body, which would go along",
                expected="a redirect within the origin, as another one is sent neither certificate nor body",
                remedy=_remedy(origin),
            )
        self._tell(before.origin, origin)
        return Hop(origin, kept=False)

    def _tell(self, before: str, origin: str) -> None:
        if (before, origin) not in self._told and len(self._told) < _TOLD:
            self._told.add((before, origin))
            what = "A redirect from %s to %s is followed without the client certificate. %s"
            logger.warning(what, shown(before), shown(origin), _remedy(origin))


def origin_of(scheme: str, host: str, port: int | None) -> str:
    """An origin as one text, of what the library itself has read from the URL: it is the library that connects.

    The port is left out where it is the scheme's own, or None.
    """
    scheme, host = scheme.lower(), host.lower().strip("[]")
    scheme = _WEB_SOCKETS.get(scheme, scheme)
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}" if port in {None, _PORTS.get(scheme)} else f"{scheme}://{host}:{port}"


def _named(text: str) -> str:
    """An origin as the user gives it.

    Raises:
        ValueError: it is none, or not one of https.
    """
    with suppress(ValueError):
        parts = urlsplit(text)
        origin = origin_of("https", parts.hostname or "", parts.port)
        beside = parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment
        if text.isascii() and parts.scheme == "https" and parts.hostname and not beside:
            return origin
    raise ValueError(f"redirect_origins has {text!r}; each must be an origin such as 'https://api.example:8443'")


def _remedy(origin: str) -> str:
    return f"If it is meant, name that origin: ClientCertificate(..., redirect_origins=[{origin!r}])."
