"""The caller's certificate, as API Gateway hands it over, and what is told of it. Calls nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from mtls_rotation.pki.certificate_id import CertificateId
from mtls_rotation.pki.distinguished_names import DistinguishedName
from mtls_rotation.pki.names import folded_email

# Twenty octets with the sign (RFC 5280, section 4.1.2.2), and as much again for who does not keep to it.
_MOST_BITS = 320
# Of a subject or an issuer as JSON, so that both find room in what an authorizer may answer.
_MOST_BYTES = 2048


@dataclass(frozen=True, slots=True)
class Caller:
    """Who called.

    Attributes:
        subject: as RFC 4514 writes it.
        lasting_subject: the same, without the generation that the subject of a certificate has which signs itself.
        names: the subject alternative names, each with its kind before it: `dns:`, `uri:`, `email:` or `ip:`.
        fingerprint: SHA-256 of the certificate, lower-case hex.
    """

    certificate: CertificateId
    subject: str
    lasting_subject: str
    names: tuple[str, ...]
    fingerprint: str

    @classmethod
    def from_pem(cls, pem: str) -> Caller:
        """Read the certificate.

        Raises:
            ValueError: it is none that can be read, or has a subject or issuer of more than 2,048 bytes as JSON, or a
                serial number of more than 320 bits.
        """
        try:
            certificate = x509.load_pem_x509_certificate(pem.encode())
            caller = cls(
                CertificateId.of(certificate),
                str(DistinguishedName.of(certificate.subject)),
                str(_lasting(certificate)),
                tuple(_names(certificate)),
                certificate.fingerprint(hashes.SHA256()).hex(),
            )
        except Exception as error:  # noqa: BLE001 - the library has a kind for each thing that may be wrong with one
            raise ValueError(f"a certificate that cannot be read ({type(error).__name__})") from None
        if max(len(json.dumps(caller.subject)), len(json.dumps(caller.certificate.issuer))) > _MOST_BYTES:
            raise ValueError("a certificate with a name of more than 2,048 bytes as JSON")
        if certificate.serial_number.bit_length() > _MOST_BITS:
            raise ValueError("a certificate with a serial number of more than 320 bits")
        return caller

    def context(self) -> dict[str, str]:
        """What the backend is told in `requestContext.authorizer`, but for the names: those have no bound."""
        return {
            "subject": self.subject,
            "issuer": self.certificate.issuer,
            "serialNumber": self.certificate.serial_number,
            "fingerprintSha256": self.fingerprint,
        }


def _lasting(certificate: x509.Certificate) -> DistinguishedName:
    """Of what a CA has signed, the CA answers for every attribute; what signs itself is trusted as a whole."""
    itself = certificate.subject == certificate.issuer
    subject = DistinguishedName.of(certificate.subject)
    return subject.without_generation() if itself else subject


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # noqa: BLE001 - no names, or none that the library knows: then nothing is allowed by one
        return []
    found = []
    for name in names:
        match name:
            case x509.DNSName():
                found.append(f"dns:{name.value.lower()}")
            case x509.UniformResourceIdentifier():
                found.append(f"uri:{name.value}")
            case x509.RFC822Name():
                found.append(f"email:{folded_email(name.value)}")
            case x509.IPAddress():
                found.append(f"ip:{name.value}")
    return found
