"""How our certificates are made: a client's, a CA's, and a request for one that somebody else signs. Calls nothing.

The profile follows RFC 5280: v3, random serials, key identifiers, critical basic constraints and key usage,
and the extended key usage clientAuth on a leaf.
"""

import secrets
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtls_rotation.pki.certificates import SigningKey, signature_digest
from mtls_rotation.pki.names import dns_name, email, extended_key_usage, ip_address, uri
from mtls_rotation.pki.request import CertificateRequest, KeyAlgorithm

# A certificate is valid from a little before its issue, so that a server whose clock is behind accepts it too.
BACKDATE = timedelta(minutes=5)


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
_CA = x509.CertificateBuilder().add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)


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
    """A client certificate that signs itself: its own anchor, and no CA. Its subject has a generation as a CA's has."""
    builder = _for_client(_builder(_CLIENT, request, key.public_key(), now, has_generation=True), request)
    return builder.sign(key, signature_digest(key))


def issue_root(
    request: CertificateRequest, key: SigningKey, now: datetime, *, path_length: int = 0
) -> x509.Certificate:
    """A self-signed CA certificate, whose subject is the request's with a generation: no other CA has it.

    With path length 0 it may sign leaves and nothing else; with more, CAs below it.
    """
    authority = _CA.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    builder = _builder(authority, request, key.public_key(), now, has_generation=True)
    return builder.sign(key, signature_digest(key))


def issued_at(certificate: x509.Certificate) -> datetime:
    """When we issued a CA's certificate."""
    return certificate.not_valid_before_utc + BACKDATE


def signing_request(request: CertificateRequest, key: SigningKey) -> x509.CertificateSigningRequest:
    """A PKCS #10 request (RFC 2986) for a client certificate, signed by the key that is to be certified."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject(request))
    builder = builder.add_extension(_key_usage(digital_signature=True), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(extended_key_usages(request)), critical=False)
    if alternative := alternative_names(request):
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    return builder.sign(key, signature_digest(key))


def _for_client(builder: x509.CertificateBuilder, request: CertificateRequest) -> x509.CertificateBuilder:
    """What a client may use its certificate for, and its names besides the subject."""
    builder = builder.add_extension(x509.ExtendedKeyUsage(extended_key_usages(request)), critical=False)
    if alternative := alternative_names(request):
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    return builder


def _builder(
    kind: x509.CertificateBuilder,
    request: CertificateRequest,
    public_key: CertificatePublicKeyTypes,
    now: datetime,
    issuer: x509.Certificate | None = None,
    *,
    has_generation: bool = False,
) -> x509.CertificateBuilder:
    """What every certificate has: names, serial, dates (none before the issuer's), key identifiers.

    Without an issuer it is its own.
    """
    moment, serial_number = now.replace(microsecond=0), _serial_number()
    name = subject(request, generation(moment, serial_number) if has_generation else None)
    not_before = moment - BACKDATE
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
        .serial_number(serial_number)
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


def generation(moment: datetime, serial_number: int) -> str:
    """What tells an anchor from every other of its name: the day of its issue, by which people sort, and its number.

    The number is that of the certificate, not of the key: a KMS key may have a second certificate, and where two CAs
    have one subject a server may go by the first, which ends sooner. 48 of its random bits are enough: among ten
    thousand CAs of a day and a name, two would have one in one case of five million.
    """
    return f"{moment:%Y%m%d}-{serial_number:x}"[:21]


def subject(request: CertificateRequest, generation: str | None = None) -> x509.Name:
    """The subject, the widest attribute first.

    countryName and dnQualifier, which holds an anchor's generation, are PrintableStrings, the rest UTF8Strings. Every
    reader of certificates must know dnQualifier (RFC 5280, section 4.1.2.4), and it is there to tell entries apart that
    would have the same name (RFC 4519, section 2.8).
    """
    attributes = (
        (NameOID.COUNTRY_NAME, request.country),
        (NameOID.STATE_OR_PROVINCE_NAME, request.state),
        (NameOID.LOCALITY_NAME, request.locality),
        (NameOID.ORGANIZATION_NAME, request.organization),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, request.organizational_unit),
        (NameOID.DN_QUALIFIER, generation),
        (NameOID.COMMON_NAME, request.common_name),
    )
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes if value is not None])


def alternative_names(request: CertificateRequest) -> list[x509.GeneralName]:
    """The subject alternative names."""
    names: list[x509.GeneralName] = [x509.DNSName(dns_name(name)) for name in request.dns_names]
    names += [x509.UniformResourceIdentifier(uri(text)) for text in request.uris]
    names += [x509.RFC822Name(email(address)) for address in request.emails]
    names += [x509.IPAddress(ip_address(address)) for address in request.ip_addresses]
    return names


def extended_key_usages(request: CertificateRequest) -> list[x509.ObjectIdentifier]:
    """clientAuth, and what is asked for besides."""
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *map(extended_key_usage, request.extended_key_usages)]
    return list(dict.fromkeys(usages))
