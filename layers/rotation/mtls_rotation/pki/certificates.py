"""What is read from a certificate or a key, and how both are written as PEM. No AWS, no files."""

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, CertificatePublicKeyTypes

from mtls_rotation.pki.distinguished_names import rfc4514

type SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


_SHORT = 200


@dataclass(frozen=True, slots=True)
class CertifiedKey:
    """A private key with the certificate that was issued for it.

    Attributes:
        chain: the intermediates between `certificate` and `anchor`, in order, both left out.
        anchor: the certificate that a truststore must hold for `certificate` to be accepted.
    """

    key: SigningKey
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    anchor: x509.Certificate

    def __repr__(self) -> str:
        return f"CertifiedKey({subject(self.certificate)!r}, serial={serial(self.certificate)})"


def signature_digest(key: CertificateIssuerPrivateKeyTypes) -> hashes.SHA256 | hashes.SHA384:
    """What a key signs with: SHA-384 for a P-384 key, as RFC 5480, section 4, pairs them; SHA-256 for every other."""
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size > 256:
        return hashes.SHA384()
    return hashes.SHA256()


def fingerprint(certificate: x509.Certificate) -> str:
    """The SHA-256 fingerprint, lower-case hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def public_key_fingerprint(key: CertificatePublicKeyTypes) -> str:
    """The SHA-256 of a public key's SubjectPublicKeyInfo, lower-case hex."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex()


def serial(certificate: x509.Certificate) -> str:
    """The serial number, lower-case hex."""
    return f"{certificate.serial_number:x}"


def subject(certificate: x509.Certificate) -> str:
    """The subject as RFC 4514 writes it."""
    return rfc4514(certificate.subject)


def short_subject(certificate: x509.Certificate) -> str:
    """The subject for an event or a comment: whoever made the certificate may have put a book into it."""
    return short_name(certificate.subject)


def short_name(name: x509.Name) -> str:
    """A name for an event or a message, likewise."""
    text = rfc4514(name)
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}..."


def to_pem(*certificates: x509.Certificate) -> str:
    """The certificates as PEM, one after the other."""
    return "".join(certificate.public_bytes(serialization.Encoding.PEM).decode() for certificate in certificates)


def from_pem(text: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM text that we wrote ourselves.

    Raises:
        ValueError: it is no such text. The message does not quote it.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(text.encode())) if text.strip() else ()
    except x509.InvalidVersion as error:
        raise ValueError(str(error)) from None
    except ValueError:
        # What the library says may quote the text, as a boundary that does not end.
        raise ValueError("a text that cannot be read as PEM certificates") from None


def key_to_pem(key: SigningKey) -> str:
    """The private key as unencrypted PKCS#8 PEM: for the secret's value and for nothing else."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def key_from_pem(text: str) -> SigningKey:
    """The private key of a PKCS#8 PEM text.

    Raises:
        ValueError: it is no such text, or another kind of key. The message does not quote it.
    """
    try:
        key = serialization.load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError):
        raise ValueError("a text that is no unencrypted PEM private key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("a private key that is neither RSA nor EC")  # noqa: TRY004 - a value that was read
    return key
