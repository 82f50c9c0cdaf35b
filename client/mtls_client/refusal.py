"""Tells a handshake that a server refused for the client certificate's sake from every other failure.

With TLS 1.2 the refusal is an alert in the handshake. With TLS 1.3 the client's handshake is over before the server has
looked at the certificate, so the alert is what the first read finds, after the request was written. What httpcore
raises does not tell the first exchange of a connection from a later one; its trace events do.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# What RFC 5246, 7.2.2 and RFC 8446, 6.2 have a server say of a certificate, of a missing one or of an unknown CA.
ALERTS = frozenset(
    {
        "ACCESS_DENIED",
        "BAD_CERTIFICATE",
        "CERTIFICATE_EXPIRED",
        "CERTIFICATE_REQUIRED",
        "CERTIFICATE_REVOKED",
        "CERTIFICATE_UNKNOWN",
        "HANDSHAKE_FAILURE",
        "UNKNOWN_CA",
        "UNSUPPORTED_CERTIFICATE",
    }
)


class Attempt:
    """Follows one attempt at a request through httpcore's trace events.

    Attributes:
        refused: whether the server refused the client certificate, and so has certainly not processed the request.
        body_was_read: whether a body that can be read only once may be gone.
    """

    def __init__(self, follower: Callable[[str, Any], object] | None) -> None:
        """Takes the caller's own trace extension, which hears of everything as well."""
        self.refused = False
        self.body_was_read = False
        self._follower = follower
        self._opened: Any = None  # the TLS 1.3 connection that this attempt opened

    def __call__(self, event: str, info: dict[str, Any]) -> None:
        """The trace extension of httpcore: an event's name, and what there is to say about it."""
        match event:
            case "connection.start_tls.complete":
                opened = info["return_value"].get_extra_info("ssl_object")
                self._opened = opened if opened.version() == "TLSv1.3" else None
            case "connection.start_tls.failed":
                self.refused = _says_refused(info["exception"])
            case "http11.send_request_body.started":
                self.body_was_read = True
            case "http11.receive_response_headers.failed":
                self.refused = _awaits_verdict(self._opened) and _says_refused(info["exception"])
        if self._follower is not None:
            self._follower(event, info)


def _awaits_verdict(opened: Any) -> bool:
    """Whether the server may still be about to verify the certificate that it was sent on this connection.

    It sends session tickets after it has verified the client: with one in hand, an alert is about something else.
    """
    if opened is None:
        return False
    session = opened.session
    return session is None or not session.has_ticket


def _says_refused(failure: BaseException) -> bool:
    """Whether the failure comes from one of these alerts. OpenSSL's names are such as TLSV1_ALERT_UNKNOWN_CA."""
    cause = failure.__cause__
    return isinstance(cause, ssl.SSLError) and (cause.reason or "").partition("_ALERT_")[2] in ALERTS
