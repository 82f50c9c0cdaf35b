"""What names a certificate in revocation. Imports little: the authorizer's cold start pays for it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtls_rotation.pki.distinguished_names import DistinguishedName
from mtls_rotation.pki.presented import Presented

if TYPE_CHECKING:
    from cryptography import x509

    from mtls_rotation.pki.presented import Signed

# Of a serial number, as we write it: what RFC 5280, section 4.1.2.2, allows, and as much again, zero and below for CAs
# that do not keep to it. The gateway lets such certificates in, so it must be possible to revoke them.
MOST_BITS = 320
_SERIAL = re.compile(r"0|-?[1-9a-f][0-9a-f]{0,79}")
_KEY = re.compile(r"[0-9a-f]{64}")
# Before the digest of what was signed, where it is not known by whose key.
_SIGNED = "signed:"


@dataclass(frozen=True, slots=True, order=True)
class CertificateId:
    """What names a certificate: who signed it, and its serial number (RFC 5280, section 4.1.2.2).

    Attributes:
        issuer: the issuer's name as RFC 4514 writes it. Anybody may give a CA of theirs the same.
        serial_number: lower-case hex with no leading zeros.
        signer: the SHA-256 of the public key that signed it, lower-case hex. Where no CA is known whose key that is:
            `signed:` and the SHA-256 of what was signed, which no other certificate has.
    """

    issuer: str
    serial_number: str
    signer: str

    @classmethod
    def of(cls, certificate: x509.Certificate | Presented, key: str = "") -> CertificateId:
        """The one of a certificate.

        Args:
            certificate: the certificate.
            key: the SHA-256 of the public key that signed it, if that is known.
        """
        return cls(issuer_of(certificate), f"{certificate.serial_number:x}", key or digest_of(certificate))

    @property
    def key(self) -> str:
        """The SHA-256 of the public key that signed it; empty if it is not known."""
        return "" if self.signer.startswith(_SIGNED) else self.signer

    def __str__(self) -> str:
        return f"serial number {self.serial_number} of {self.issuer}"


def issuer_of(certificate: x509.Certificate | Presented) -> str:
    """The issuer's name as RFC 4514 writes it; what is no text in it is written in hex.

    Raises:
        ValueError: the certificate has none.
    """
    return str(Presented.of(certificate).issuer_name)


def digest_of(certificate: Signed) -> str:
    """What stands for the signer of a certificate where it is not known."""
    return _SIGNED + hashlib.sha256(certificate.tbs_certificate_bytes).hexdigest()


def identified(issuer: Any, serial_number: Any, signer: Any) -> CertificateId:
    """The one that a list names, as it was read from JSON.

    Raises:
        ValueError: it is none.
    """
    if not all(isinstance(it, str) for it in (issuer, serial_number, signer)):
        raise ValueError("no text")
    if not _SERIAL.fullmatch(serial_number) or not _KEY.fullmatch(signer.removeprefix(_SIGNED)):
        raise ValueError("no serial number in lower-case hex, or no signer")
    return CertificateId(issuer, serial_number, signer)


def may_be(written: str, name: DistinguishedName) -> bool:
    """Whether a name on a list is that of a certificate; also where that cannot be told, as it cannot be read.

    What is decided by it is decided by a signature besides.
    """
    try:
        return DistinguishedName.parse(written).is_same(name)
    except ValueError:
        return True
