"""What both kinds of import tell of a certificate."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from mtls_rotation.pki.certificates import fingerprint, serial, short_subject
from mtlsctl.report import Model
from mtlsctl.show import line, moment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from mtls_rotation.issuers.external.request import Signed
    from mtls_rotation.pki.certificates import CertifiedKey


class Imported(Model):
    """The certificate itself.

    Attributes:
        serial_number: lower-case hex.
        anchors: the subjects of the CAs above it, the root last; of the certificate itself, if it is its own.
    """

    subject: str
    serial_number: str
    fingerprint_sha256: str
    not_after: datetime
    anchors: list[str]

    def lines(self) -> Iterable[RenderableType]:
        """What a person is shown of it."""
        yield line(("  serial: ", "dim"), (f"{self.serial_number}, until {moment(self.not_after)}", ""))
        yield line(("  below: ", "dim"), (", ".join(self.anchors), ""))


def described(issued: CertifiedKey | Signed) -> Imported:
    """What is told of a certificate."""
    return Imported(
        subject=short_subject(issued.certificate),
        serial_number=serial(issued.certificate),
        fingerprint_sha256=fingerprint(issued.certificate),
        not_after=issued.certificate.not_valid_after_utc,
        anchors=[short_subject(it) for it in (*issued.chain, issued.anchor)],
    )
