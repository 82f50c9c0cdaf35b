"""What names a certificate in revocation. Imports little: the authorizer's cold start pays for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtls_rotation.pki.distinguished_names import rfc4514

if TYPE_CHECKING:
    from cryptography import x509

# What a CRL can hold of a serial number (RFC 5280, section 4.1.2.2), as we write it.
_SERIAL = re.compile(r"[1-9a-f][0-9a-f]{0,38}|[1-7][0-9a-f]{39}")


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
        return cls(rfc4514(certificate.issuer), f"{certificate.serial_number:x}")

    def __str__(self) -> str:
        return f"serial number {self.serial_number} of {self.issuer}"


def identified(issuer: Any, serial_number: Any) -> CertificateId:
    """The one that a list names, as it was read from JSON.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(issuer, str) or not isinstance(serial_number, str) or not _SERIAL.fullmatch(serial_number):
        raise ValueError("no issuer with a serial number in lower-case hex")
    return CertificateId(issuer, serial_number)
