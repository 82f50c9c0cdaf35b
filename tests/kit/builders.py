"""Makes the real certificates, keys and secret values that tests work with. Calls no AWS."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import SecretStr

from mtls_rotation import timing
from mtls_rotation.issuers.registry import parse_secret
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import profile
from mtls_rotation.pki.request import CertificateRequest, KeyAlgorithm

NOW = datetime.now(UTC).replace(microsecond=0)

type AnyKey = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)


def root(
    common_name: str = "Test CA",
    *,
    now: datetime = NOW,
    days: int = 365,
    algorithm: KeyAlgorithm = KeyAlgorithm.EC_P256,
) -> pki.CertifiedKey:
    """A self-signed CA, made as the project makes one."""
    key = profile.generate_key(algorithm)
    request = CertificateRequest(common_name=common_name, validity_days=days, key_algorithm=algorithm)
    certificate = profile.issue_root(request, key, now)
    return pki.CertifiedKey(key=key, certificate=certificate, chain=(), anchor=certificate)


def named(name: x509.Name) -> pki.CertifiedKey:
    """A self-signed CA of exactly that name: somebody else's, or one from before CAs had a generation."""
    made, key = Foreign(subject=name).make()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return pki.CertifiedKey(key=key, certificate=made, chain=(), anchor=made)


def leaf(ca: pki.CertifiedKey, *, now: datetime = NOW, **request: Any) -> pki.CertifiedKey:
    """A client certificate by that CA, made as the project makes one."""
    wanted = CertificateRequest(**{"common_name": "billing", "validity_days": 30} | request)
    key = profile.generate_key(wanted.key_algorithm)
    certificate = profile.issue_leaf(wanted, key.public_key(), ca.certificate, ca.key, now)
    return pki.CertifiedKey(key=key, certificate=certificate, chain=(), anchor=ca.certificate)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A certificate that the project would not make: what partners upload, and what a gateway refuses."""

    common_name: str = "Foreign"
    subject: x509.Name | None = None
    authority: bool = True
    constraints: bool = True
    usages: tuple[x509.ObjectIdentifier, ...] = ()
    key: AnyKey | None = None
    signer: AnyKey | None = None
    issuer: x509.Certificate | None = None
    digest: hashes.HashAlgorithm | None = field(default_factory=hashes.SHA256)
    not_before: datetime = NOW - timedelta(days=1)
    not_after: datetime = NOW + timedelta(days=365)
    addresses: tuple[str, ...] = ()
    serial_number: int = 0

    def make(self) -> tuple[x509.Certificate, AnyKey]:
        """The certificate and its key; self-signed unless an issuer and its key are given."""
        key = self.key or ec.generate_private_key(ec.SECP256R1())
        name = self.subject or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.common_name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.issuer.subject if self.issuer else name)
            .public_key(key.public_key())
            .serial_number(self.serial_number or x509.random_serial_number())
            .not_valid_before(self.not_before)
            .not_valid_after(self.not_after)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if self.constraints:
            builder = builder.add_extension(x509.BasicConstraints(ca=self.authority, path_length=None), critical=True)
        if self.authority:
            builder = builder.add_extension(_SIGNS_CERTIFICATES, critical=True)
        if self.usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(self.usages), critical=False)
        if self.addresses:
            names = [x509.IPAddress(ip_address(address)) for address in self.addresses]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if self.issuer:
            identifier = self.issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            builder = builder.add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
            )
        return builder.sign(self.signer or key, self.digest), key  # type: ignore[arg-type]


_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def foreign(**settings: Any) -> x509.Certificate:
    """A certificate that the project would not make. See `Foreign` for what can be set."""
    return Foreign(**settings).make()[0]


def twin(of: x509.Certificate, identifier: bytes | None, *, subject: x509.Name | None = None) -> x509.Certificate:
    """A self-signed CA with the subject of another and a key of its own: what a server may take for the other.

    Args:
        of: the other.
        identifier: what it says of its key, true or not; None for nothing.
        subject: its name where that is not written exactly as the other's.
    """
    name, key = subject or of.subject, ec.generate_private_key(ec.SECP256R1())
    builder = _authority(name, key.public_key(), name)
    if identifier is not None:
        builder = builder.add_extension(x509.SubjectKeyIdentifier(identifier), critical=False)
    return builder.sign(key, hashes.SHA256())


def cross_signed(of: x509.Certificate, issuer: x509.Certificate, signer: AnyKey) -> x509.Certificate:
    """A certificate of another's name and public key that somebody else has signed, as anybody can."""
    identifier = of.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = _authority(of.subject, of.public_key(), issuer.subject)
    return builder.add_extension(identifier, critical=False).sign(signer, hashes.SHA256())


def _authority(subject: x509.Name, key: CertificatePublicKeyTypes, issuer: x509.Name) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_SIGNS_CERTIFICATES, critical=True)
    )


def with_an_unknown_key(certificate: x509.Certificate) -> bytes:
    """The DER of a certificate whose key is of a kind that there is not: it is found when the key is asked for."""
    der, elliptic = certificate.public_bytes(serialization.Encoding.DER), bytes.fromhex("06072a8648ce3d0201")
    assert elliptic in der
    return der.replace(elliptic, elliptic[:-1] + b"\x7f")


def on_the_curve_of_sm2(certificate: x509.Certificate) -> bytes:
    """The DER of a certificate whose key is said to be on SM2's curve, in place of P-256."""
    der = certificate.public_bytes(serialization.Encoding.DER)
    p_256, sm2 = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a811ccf5501822d")
    assert p_256 in der
    return der.replace(p_256, sm2)


def authorities(length: int) -> list[x509.Certificate]:
    """A chain of CAs, from the root downwards."""
    return authorities_with_keys(length)[0]


def authorities_with_keys(length: int) -> tuple[list[x509.Certificate], list[AnyKey]]:
    """A chain of CAs, from the root downwards, and their keys."""
    certificates: list[x509.Certificate] = []
    keys: list[AnyKey] = []
    for level in range(length):
        issuer, signer = (certificates[-1], keys[-1]) if certificates else (None, None)
        made, key = Foreign(common_name=f"Level {level}", signer=signer, issuer=issuer).make()
        certificates.append(made)
        keys.append(key)
    return certificates, keys


def server_certificate(ca: pki.CertifiedKey) -> pki.CertifiedKey:
    """What a server on loopback presents."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = foreign(
        common_name="server",
        authority=False,
        usages=(ExtendedKeyUsageOID.SERVER_AUTH,),
        key=key,
        signer=ca.key,
        issuer=ca.certificate,
        addresses=("127.0.0.1", "::1"),
    )
    return pki.CertifiedKey(key=key, certificate=certificate, chain=(), anchor=ca.certificate)


def client_definition(ca_secret: str = "stack/ca", **changes: Any) -> dict[str, Any]:
    """What an operator writes for a client secret, with members changed; None leaves one out."""
    definition: dict[str, Any] = {
        "request": {"common_name": "billing", "validity_days": 30},
        "issuer": {"type": "secretsmanager", "ca_secret": ca_secret},
    }
    return {key: value for key, value in (definition | changes).items() if value is not None}


def ca_definition(**changes: Any) -> dict[str, Any]:
    """What an operator writes for a CA secret, with members changed; None leaves one out."""
    definition: dict[str, Any] = {
        "kind": "ca",
        "request": {"common_name": "Test CA", "validity_days": 365},
        "issuer": {"type": "self-signed"},
    }
    return {key: value for key, value in (definition | changes).items() if value is not None}


def issued_value(definition: dict[str, Any], issued: pki.CertifiedKey) -> str:
    """A secret's value after a rotation, by way of the document itself."""
    secret = parse_secret(json.dumps(definition), "the test's secret").model_copy(
        update={
            "certificate": pki.to_pem(issued.certificate),
            "certificate_chain": pki.to_pem(*issued.chain),
            "anchor": pki.to_pem(issued.anchor),
            "private_key": SecretStr(pki.key_to_pem(issued.key)),
            "serial_number": pki.serial(issued.certificate),
            "fingerprint_sha256": pki.fingerprint(issued.certificate),
            "not_before": timing.to_rfc3339(issued.certificate.not_valid_before_utc),
            "not_after": timing.to_rfc3339(issued.certificate.not_valid_after_utc),
        }
    )
    return secret.render()


def changed(value: str, **changes: Any) -> str:
    """A JSON value with top-level members changed; None leaves one out."""
    document = json.loads(value) | changes
    return json.dumps({key: member for key, member in document.items() if member is not None})
