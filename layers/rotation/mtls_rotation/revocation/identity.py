"""What names a certificate in revocation. Imports little: the authorizer's cold start pays for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509


@dataclass(frozen=True, slots=True, order=True)
class CertificateId:
    """What names a certificate (RFC 5280, section 4.1.2.2: a CA gives each serial number once).

    Attributes:
        issuer: the issuer's name as RFC 4514 writes it.
        serial_number: lower-case hex with no leading zeros.
    """

    issuer: str
    serial_number: str

    @classmethod
    def of(cls, certificate: x509.Certificate) -> CertificateId:
        """The one of a certificate."""
        return cls(certificate.issuer.rfc4514_string(), f"{certificate.serial_number:x}")

    def __str__(self) -> str:
        return f"serial number {self.serial_number} of {self.issuer}"
