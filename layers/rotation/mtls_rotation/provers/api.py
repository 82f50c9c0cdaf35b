"""What a prover is: it presents a client certificate to an endpoint once, and tells what came of it. Calls nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from mtls_rotation.contract.endpoint import EndpointSettings

if TYPE_CHECKING:
    from datetime import datetime

    from mtls_rotation.timing import Deadline


class Outcome(StrEnum):
    """How an attempt ended.

    Attributes:
        ANSWERED: by an answer in the protocol, so the handshake was accepted.
        REFUSED: by an alert about the client certificate, or by an answer that may be about it.
        CLOSED: without an alert and without an answer.
        UNTRUSTED: by us: the server's certificate is not trusted. The client certificate was not shown to it.
        UNREACHABLE: before TLS began.
        BROKEN: by anything else: no TLS, another protocol, no answer in time.
    """

    ANSWERED = "answered"
    REFUSED = "refused"
    CLOSED = "closed"
    UNTRUSTED = "untrusted"
    UNREACHABLE = "unreachable"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a client presents.

    Attributes:
        certificate_chain: the leaf and its intermediates, PEM.
        private_key: PKCS#8 PEM.
    """

    certificate_chain: str
    private_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answers once the handshake is done.

    Attributes:
        text: the answer in the protocol's words.
        problem: why it proves nothing, in words that hold no secret; empty if it proves the certificate.
        http_status: where the protocol is HTTP.
        refuses: whether so a server may refuse a certificate whose handshake it has completed.
    """

    text: str
    problem: str = ""
    http_status: int | None = None
    refuses: bool = False


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of an attempt.

    Attributes:
        problem: why it does not prove the certificate, in words that hold no secret; empty if it does.
        answer: of the server, in the protocol's words; empty without one.
        http_status: of the answer, where the protocol is HTTP.
        tls_version: such as TLSv1.3; empty where no handshake was completed.
        server_subject: whom the server's certificate names; and the end of that. Empty and None where none was seen.
    """

    outcome: Outcome
    problem: str = ""
    answer: str = ""
    http_status: int | None = None
    tls_version: str = ""
    server_subject: str = ""
    server_not_after: datetime | None = None

    @property
    def accepted(self) -> bool:
        """Whether the endpoint accepted the certificate, as its settings have it."""
        return self.outcome is Outcome.ANSWERED and not self.problem


class Prover[S: EndpointSettings](Protocol):
    """Proves certificates by one protocol.

    Attributes:
        Settings: what a secret's `endpoint` may say where its URL has the prover's scheme.
    """

    Settings: type[S]

    def prove(self, settings: S, identity: Identity, deadline: Deadline) -> Proof:
        """Present the certificate once, on a new connection. The key stays in memory, and no proxy is asked.

        Args:
            settings: where, and what proves acceptance.
            identity: what to present.
            deadline: of the step; an attempt that begins shortly before it may end a little after it.
        """
        ...
