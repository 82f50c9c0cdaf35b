"""How a leaf and a CA certificate are made, and what is read from one. No AWS, no files.

The profile follows RFC 5280: v3, random serials, key identifiers, critical basic constraints and key usage,
and the extended key usage clientAuth on a leaf.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, CertificatePublicKeyTypes

from mtls_rotation.pki import names
from mtls_rotation.pki.request import CertificateRequest, KeyAlgorithm

type SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

# A certificate is valid from a little before its issue, so that a server whose clock is behind accepts it too.
BACKDATE = timedelta(minutes=5)


_SHORT = 200


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


# What is the same in every certificate of a kind, made once: a builder never changes, each step makes another.
_CLIENT = (
    x509.CertificateBuilder()
    .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    .add_extension(_key_usage(digital_signature=True), critical=True)
)
_ROOT = (
    x509.CertificateBuilder()
    .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
)


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


def generate_key(algorithm: KeyAlgorithm) -> SigningKey:
    """A fresh private key."""
    match algorithm:
        case KeyAlgorithm.EC_P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyAlgorithm.EC_P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyAlgorithm.RSA_2048 | KeyAlgorithm.RSA_3072 | KeyAlgorithm.RSA_4096:
            return rsa.generate_private_key(public_exponent=65537, key_size=int(algorithm.removeprefix("RSA_")))


def issue_leaf(
    request: CertificateRequest,
    public_key: CertificatePublicKeyTypes,
    issuer: x509.Certificate,
    issuer_key: CertificateIssuerPrivateKeyTypes,
    now: datetime,
) -> x509.Certificate:
    """A client certificate for `public_key`, signed by `issuer`'s key, valid for `request.validity` from `now`.

    Raises:
        ValueError: it would outlive `issuer`. Callers check that before they make a key.
    """
    if now.replace(microsecond=0) + request.validity > issuer.not_valid_after_utc:
        raise ValueError("a certificate that would outlive its issuer")
    builder = _for_client(_builder(_CLIENT, request, public_key, now, issuer), request)
    return builder.sign(issuer_key, signature_digest(issuer_key))


def issue_self_signed_leaf(request: CertificateRequest, key: SigningKey, now: datetime) -> x509.Certificate:
    """A client certificate that signs itself: its own anchor, and no CA."""
    return _for_client(_builder(_CLIENT, request, key.public_key(), now), request).sign(key, signature_digest(key))


def issue_root(request: CertificateRequest, key: SigningKey, now: datetime) -> x509.Certificate:
    """A self-signed CA certificate that may sign leaves and nothing else (path length 0)."""
    return _builder(_ROOT, request, key.public_key(), now).sign(key, signature_digest(key))


def signing_request(request: CertificateRequest, key: SigningKey) -> x509.CertificateSigningRequest:
    """A PKCS #10 request (RFC 2986) for a client certificate, signed by the key that is to be certified."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(names.subject(request))
    builder = builder.add_extension(_key_usage(digital_signature=True), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(names.extended_key_usages(request)), critical=False)
    if alternative := names.alternative_names(request):
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    return builder.sign(key, signature_digest(key))


def _for_client(builder: x509.CertificateBuilder, request: CertificateRequest) -> x509.CertificateBuilder:
    """What a client may use its certificate for, and its names besides the subject."""
    builder = builder.add_extension(x509.ExtendedKeyUsage(names.extended_key_usages(request)), critical=False)
    if alternative := names.alternative_names(request):
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    return builder


def _builder(
    kind: x509.CertificateBuilder,
    request: CertificateRequest,
    public_key: CertificatePublicKeyTypes,
    now: datetime,
    issuer: x509.Certificate | None = None,
) -> x509.CertificateBuilder:
    """What every certificate has: names, serial, dates (none before the issuer's), key identifiers.

    Without an issuer it is its own.
    """
    moment = now.replace(microsecond=0)
    name, not_before = names.subject(request), moment - BACKDATE
    identifier = x509.SubjectKeyIdentifier.from_public_key(public_key)
    issuer_name, issuer_identifier = name, identifier
    if issuer is not None:
        issuer_name = issuer.subject
        issuer_identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        not_before = max(not_before, min(moment, issuer.not_valid_before_utc))
    return (
        kind.subject_name(name)
        .issuer_name(issuer_name)
        .public_key(public_key)
        .serial_number(_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(moment + request.validity)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_identifier), critical=False
        )
    )


def _serial_number() -> int:
    """128 random bits, positive: more than RFC 5280 (section 4.1.2.2) and the CA/Browser Forum ask for."""
    return secrets.randbits(128) or 1


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
    return certificate.subject.rfc4514_string()


def short_subject(certificate: x509.Certificate) -> str:
    """The subject for an event or a comment: whoever made the certificate may have put a book into it."""
    return short_name(certificate.subject)


def short_name(name: x509.Name) -> str:
    """A name for an event or a message, likewise."""
    text = name.rfc4514_string()
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


def to_rfc3339(moment: datetime) -> str:
    """A moment as RFC 3339 in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
