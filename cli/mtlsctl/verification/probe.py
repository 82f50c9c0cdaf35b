"""What came of presenting a certificate to an endpoint, as the report has it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Self

from mtls_rotation.provers.api import Outcome
from mtlsctl.report import Model

if TYPE_CHECKING:
    from mtls_rotation.provers.api import Proof


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

    @classmethod
    def of(cls, url: str, proof: Proof) -> Self:
        """The result for the report."""
        return cls(
            url=url,
            outcome=proof.outcome,
            what="" if proof.outcome is Outcome.ANSWERED else proof.problem,
            http_status=proof.http_status,
            tls_version=proof.tls_version,
            server_subject=proof.server_subject,
            server_not_after=proof.server_not_after,
        )
