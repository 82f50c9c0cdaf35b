"""A real request with a client certificate, and what came of it: who refused whom, and where it broke off.

`mtls_rotation.provers.https` says whether a certificate was accepted, for testSecret; this tells an operator more.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from errno import ECONNRESET
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cryptography import x509

from mtls_rotation.pki.certificates import short_subject
from mtls_rotation.provers.https import CONNECT_TIMEOUT, READ_TIMEOUT, client_context
from mtlsctl.report import Model

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from mtls_rotation.contract.secret import Endpoint

# What RFC 5246, 7.2.2 and RFC 8446, 6.2 have a server say of a certificate, of a missing one or of an unknown CA.
_REFUSALS = frozenset(
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

# Seconds that a server has to refuse a certificate before it is asked for anything.
_VERDICT = 0.3


class Outcome(StrEnum):
    """How a request ended.

    Attributes:
        ANSWERED: by an HTTP status, so the handshake was accepted.
        REFUSED: by an alert about the client certificate.
        CLOSED: without an alert and without an answer.
        UNTRUSTED: by us: the server's certificate is not trusted. The client certificate was not shown to it.
        UNREACHABLE: before TLS began.
        BROKEN: by anything else: no TLS, no HTTP, no answer in time.
    """

    ANSWERED = "answered"
    REFUSED = "refused"
    CLOSED = "closed"
    UNTRUSTED = "untrusted"
    UNREACHABLE = "unreachable"
    BROKEN = "broken"


class ProbeResult(Model):
    """A request to an endpoint.

    Attributes:
        what: why it ended as it did, in words; empty if it was answered.
        http_status: of the answer; null without one.
        tls_version: such as TLSv1.3; empty where no handshake was completed.
        server_subject: whom the server's certificate names; and the end of that. Empty and null where none was seen.
    """

    url: str
    outcome: Outcome
    what: str = ""
    http_status: int | None = None
    tls_version: str = ""
    server_subject: str = ""
    server_not_after: datetime | None = None


def probe(endpoint: Endpoint, certificate_chain: str, private_key: str) -> ProbeResult:
    """Ask the endpoint for its URL with the client certificate, once, on a new connection. The key stays in memory.

    Args:
        endpoint: where. Redirects are not followed, and no proxy is asked.
        certificate_chain: the leaf and its intermediates, PEM.
        private_key: PKCS#8 PEM.
    """
    url = urlsplit(endpoint.url)
    try:
        context = client_context(certificate_chain, private_key, endpoint.server_ca)
    except (ssl.SSLError, ValueError) as error:
        return _ended(
            url, Outcome.BROKEN, f"OpenSSL does not take the certificate, its key or the server's CA: {error}"
        )
    try:
        connection = socket.create_connection(_address(url), CONNECT_TIMEOUT)
    except OSError as error:
        return _ended(url, Outcome.UNREACHABLE, _words(error))
    with connection:
        connection.settimeout(READ_TIMEOUT)
        return _shake_hands(connection, context, url)


def _shake_hands(connection: socket.socket, context: ssl.SSLContext, url: SplitResult) -> ProbeResult:
    try:
        secure = context.wrap_socket(connection, server_hostname=url.hostname)
    except ssl.SSLCertVerificationError as error:
        return _ended(url, Outcome.UNTRUSTED, error.verify_message, _seen_unverified(url))
    except OSError as error:
        return _ended(url, _outcome(error), _words(error))
    with secure:
        seen = _seen(secure.getpeercert(binary_form=True)) | {"tls_version": secure.version() or ""}
        try:
            return _ended(url, Outcome.ANSWERED, "", seen | {"http_status": _ask(secure, url)})
        except (OSError, HTTPException) as error:
            return _ended(url, _outcome(error), _words(error), seen)


def _ask(secure: ssl.SSLSocket, url: SplitResult) -> int:
    """The HTTP status of a GET."""
    _hear_refusal(secure)
    http = HTTPConnection(url.netloc)
    http.sock = secure
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    http.request("GET", target, headers={"Host": url.netloc, "Connection": "close", "User-Agent": "mtlsctl"})
    with http.getresponse() as answer:
        return answer.status


def _hear_refusal(secure: ssl.SSLSocket) -> None:
    """With TLS 1.3 a server judges when the client's handshake is over: what it says would be lost to a write.

    Raises:
        OSError: it refused, or ended the connection.
    """
    if secure.version() != "TLSv1.3":
        return
    secure.settimeout(_VERDICT)
    with suppress(TimeoutError):
        if not secure.recv(1):
            raise ConnectionResetError(ECONNRESET, "it was closed right after the handshake")
    secure.settimeout(READ_TIMEOUT)


def _ended(url: SplitResult, outcome: Outcome, what: str, seen: dict[str, Any] | None = None) -> ProbeResult:
    return ProbeResult(url=url.geturl(), outcome=outcome, what=what, **(seen or {}))


def _outcome(error: Exception) -> Outcome:
    match error:
        case ssl.SSLError(reason=str(reason)) if reason.partition("_ALERT_")[2] in _REFUSALS:
            return Outcome.REFUSED
        case ConnectionError() | ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return Outcome.CLOSED
        case _:
            return Outcome.BROKEN


def _words(error: Exception) -> str:
    match error:
        case ssl.SSLError(reason=str(reason)):
            return reason.replace("_", " ").lower()
        case TimeoutError():
            return "no answer in time"
        case OSError(strerror=str(text)):
            return text
        case _:
            return str(error) or type(error).__name__


def _address(url: SplitResult) -> tuple[str, int]:
    return url.hostname or "", url.port or 443


def _seen_unverified(url: SplitResult) -> dict[str, Any]:
    """What a server that is not trusted presents, for the operator to see. No client certificate is shown to it."""
    with suppress(OSError, ValueError):
        pem = ssl.get_server_certificate(_address(url), timeout=CONNECT_TIMEOUT)
        return _seen(ssl.PEM_cert_to_DER_cert(pem))
    return {}


def _seen(der: bytes | None) -> dict[str, Any]:
    with suppress(ValueError):
        certificate = x509.load_der_x509_certificate(der or b"")
        return {"server_subject": short_subject(certificate), "server_not_after": certificate.not_valid_after_utc}
    return {}
