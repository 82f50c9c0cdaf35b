"""Makes certificates of every shape that a chain may have: whatever RFC 5280 says of one is left to be chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.kit.builders import NOW

type Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
PRINTABLE, UTF8 = _ASN1Type.PrintableString, _ASN1Type.UTF8String
_BITS = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, slots=True)
class Member:
    """A certificate of a chain with its key."""

    certificate: x509.Certificate
    key: Key


@dataclass(frozen=True, slots=True)
class Shape:
    """What a certificate is to be like; as it stands, a CA with all that RFC 5280 asks for.

    Attributes:
        identifier: its subject key identifier; None for that of its key, empty to leave it out.
        authority: its authority key identifier; None for what the issuer says of itself, empty to leave it out.
        usage: the bits of its key usage; None to leave it out.
        more: further extensions, with whether each is critical.
    """

    name: str | x509.Name = "CA"
    key: Key | None = None
    ca: bool | None = True
    critical: bool = True
    path_length: int | None = None
    usage: tuple[str, ...] | None = ("key_cert_sign", "crl_sign")
    purposes: tuple[x509.ObjectIdentifier, ...] | None = None
    identifier: bytes | None = None
    authority: bytes | x509.AuthorityKeyIdentifier | None = None
    issuer_name: x509.Name | None = None
    not_before: datetime = NOW - timedelta(days=1)
    not_after: datetime = NOW + timedelta(days=365)
    digest: type[hashes.SHA256 | hashes.SHA384] = hashes.SHA256
    more: tuple[tuple[x509.ExtensionType, bool], ...] = ()

    def self_signed(self) -> Member:
        return self._made(None)

    def by(self, issuer: Member) -> Member:
        return self._made(issuer)

    def but(self, **changes: Any) -> Shape:
        return replace(self, **changes)

    def _made(self, issuer: Member | None) -> Member:
        key, name = self.key or new_key(), named(self.name)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.issuer_name or (issuer.certificate.subject if issuer else name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.not_before)
            .not_valid_after(self.not_after)
        )
        own = x509.SubjectKeyIdentifier(self.identifier) if self.identifier else _identifier(key)
        if self.identifier != b"":
            builder = builder.add_extension(own, critical=False)
        if authority := self._authority(issuer):
            builder = builder.add_extension(authority, critical=False)
        if self.ca is not None:
            constraints = x509.BasicConstraints(self.ca, self.path_length if self.ca else None)
            builder = builder.add_extension(constraints, critical=self.critical)
        if self.usage is not None:
            usage = x509.KeyUsage(**{bit: bit in self.usage for bit in _BITS})
            builder = builder.add_extension(usage, critical=True)
        if self.purposes is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(self.purposes), critical=False)
        for extension, critical in self.more:
            builder = builder.add_extension(extension, critical)
        return Member(builder.sign(issuer.key if issuer else key, self.digest()), key)

    def _authority(self, issuer: Member | None) -> x509.AuthorityKeyIdentifier | None:
        if isinstance(self.authority, x509.AuthorityKeyIdentifier):
            return self.authority
        if self.authority is not None:
            return x509.AuthorityKeyIdentifier(self.authority, None, None) if self.authority else None
        if issuer is None:
            return None
        try:
            found = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        except x509.ExtensionNotFound:
            return None
        return x509.AuthorityKeyIdentifier(found.digest, None, None)


LEAF = Shape("leaf", ca=False, usage=("digital_signature",), purposes=CLIENT)
EXPIRED: dict[str, Any] = {"not_before": NOW - timedelta(days=90), "not_after": NOW - timedelta(hours=1)}


def named(name: str | x509.Name, kind: _ASN1Type = UTF8) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name, _type=kind)]) if isinstance(name, str) else name


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key(size: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, size)


def _identifier(key: Key) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key())
