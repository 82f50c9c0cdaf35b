"""What every prover does alike: connect, shake hands, hear a refusal. A protocol adds what comes before and after."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography import x509

from mtls_rotation.pki.certificates import short_subject
from mtls_rotation.provers.api import Outcome, Proof
from mtls_rotation.provers.tls_context import client_context
from mtls_rotation.timing import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtls_rotation.contract.endpoint import EndpointSettings
    from mtls_rotation.provers.api import Answer, Identity

# Seconds that a server has to take a connection, and for each thing that it is waited for from then on.
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 10.0
# What it has of these when the deadline is near.
_MIN_TIMEOUT = 2.0

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


class UnexpectedAnswerError(Exception):
    """The server said something that the protocol does not have."""


def _send_nothing(_: socket.socket) -> None:
    """TLS is the first thing that the protocol has."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """What a protocol has of its own.

    Attributes:
        default_port: where the URL names none.
        exchange: the first question over TLS, and its answer. May raise OSError and UnexpectedAnswerError.
        preamble: what is said before TLS begins. May raise the same.
    """

    default_port: int
    exchange: Callable[[ssl.SSLSocket], Answer]
    preamble: Callable[[socket.socket], None] = _send_nothing


def prove_by(protocol: Protocol, settings: EndpointSettings, identity: Identity, deadline: Deadline) -> Proof:
    """Present the certificate to the endpoint once, on a new connection."""
    url = urlsplit(settings.url)
    host, address = url.hostname or "", (url.hostname or "", url.port or protocol.default_port)
    try:
        context = client_context(identity.certificate_chain, identity.private_key, settings.server_ca)
    except (ssl.SSLError, ValueError) as error:
        problem = f"OpenSSL does not take the certificate, its key or the server's CA: {error}"
        return Proof(Outcome.BROKEN, problem)
    try:
        connection = connect(address, deadline)
    except OSError as error:
        return Proof(Outcome.UNREACHABLE, _words(error))
    with connection:
        try:
            protocol.preamble(connection)
            secure = context.wrap_socket(connection, server_hostname=host)
        except ssl.SSLCertVerificationError as error:
            unverified = _presented(address, protocol, deadline)
            return _seen(Proof(Outcome.UNTRUSTED, error.verify_message), unverified)
        except (OSError, UnexpectedAnswerError) as error:
            return Proof(_outcome(error), _words(error))
    with secure:
        return _ask(secure, protocol)


def connect(address: tuple[str, int], deadline: Deadline) -> socket.socket:
    """A connection, whose every answer is waited for as long as it is reasonable and the deadline allows.

    Raises:
        OSError: the server cannot be reached.
    """
    # A name may have any number of addresses: they share the time.
    soon, failure = Deadline.within(_within(CONNECT_TIMEOUT, deadline)), OSError("a name without an address")
    for family, kind, number, _, at in socket.getaddrinfo(*address, type=socket.SOCK_STREAM):
        if not (seconds := soon.remaining()):
            break
        connection = socket.socket(family, kind, number)
        try:
            connection.settimeout(seconds)
            connection.connect(at)
        except OSError as error:
            connection.close()
            failure = error
        else:
            connection.settimeout(_within(READ_TIMEOUT, deadline))
            return connection
    raise failure


def read_alert(secure: ssl.SSLSocket) -> OSError | None:
    """What a server said before it closed a connection that was then written to.

    With TLS 1.3 it judges a certificate when the client's handshake is over, and its alert waits to be read.
    """
    try:
        secure.recv(1)
    except OSError as error:
        return error
    return None


def _ask(secure: ssl.SSLSocket, protocol: Protocol) -> Proof:
    seen = _seen(Proof(Outcome.ANSWERED, tls_version=secure.version() or ""), secure.getpeercert(binary_form=True))
    try:
        answer = protocol.exchange(secure)
        outcome = Outcome.REFUSED if answer.refuses else Outcome.ANSWERED
        return replace(
            seen, outcome=outcome, problem=answer.problem, answer=answer.text, http_status=answer.http_status
        )
    except ConnectionError as error:
        heard = read_alert(secure) or error
        said = heard if _outcome(heard) is Outcome.REFUSED else error
        return replace(seen, outcome=_outcome(said), problem=_words(said))
    except (OSError, UnexpectedAnswerError) as error:
        return replace(seen, outcome=_outcome(error), problem=_words(error))


def _within(seconds: float, deadline: Deadline) -> float:
    return min(seconds, max(deadline.remaining(), _MIN_TIMEOUT))


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


def _presented(address: tuple[str, int], protocol: Protocol, deadline: Deadline) -> bytes | None:
    """The certificate of a server that is not trusted, for the operator to see. It is shown none."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with suppress(OSError, UnexpectedAnswerError), connect(address, deadline) as connection:
        protocol.preamble(connection)
        with context.wrap_socket(connection, server_hostname=address[0]) as secure:
            return secure.getpeercert(binary_form=True)
    return None


def _seen(proof: Proof, certificate: bytes | None) -> Proof:
    """The proof with what the server's certificate says, DER; as it is where that cannot be read."""
    with suppress(ValueError):
        server = x509.load_der_x509_certificate(certificate or b"")
        return replace(proof, server_subject=short_subject(server), server_not_after=server.not_valid_after_utc)
    return proof
