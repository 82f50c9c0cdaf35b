"""The request that a certificate would have been made from, so that rotation makes the like. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import ValidationError

from mtls_rotation.pki import names
from mtls_rotation.pki.request import MAX_VALIDITY_DAYS, CertificateRequest, KeyAlgorithm

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_ATTRIBUTES = {
    NameOID.COMMON_NAME: "common_name",
    NameOID.ORGANIZATION_NAME: "organization",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "organizational_unit",
    NameOID.COUNTRY_NAME: "country",
    NameOID.STATE_OR_PROVINCE_NAME: "state",
    NameOID.LOCALITY_NAME: "locality",
}
_LISTS: dict[type[x509.GeneralName], str] = {
    x509.DNSName: "dns_names",
    x509.UniformResourceIdentifier: "uris",
    x509.RFC822Name: "emails",
    x509.IPAddress: "ip_addresses",
}
_VALIDITIES = frozenset({"validity_days", "validity_hours"})


@dataclass(frozen=True, slots=True)
class DerivedRequest:
    """A request, and what of the certificate it cannot ask for."""

    request: dict[str, Any]
    lost: tuple[str, ...]


def of(certificate: x509.Certificate, chosen: Collection[str] = ()) -> DerivedRequest:
    """The request for a certificate like this one.

    Args:
        certificate: that one.
        chosen: members that the operator chooses otherwise: of these the certificate says nothing.
    """
    request: dict[str, Any] = {}
    lost = []
    for member, value, written in _said(certificate):
        if member in chosen:
            continue
        if member is None or not _possible(member, value):
            lost.append(written)
        elif member in _ATTRIBUTES.values():
            if member in request:
                lost.append(written)
            else:
                request[member] = value
        else:
            request.setdefault(member, []).append(value)
    if "key_algorithm" not in chosen:
        request["key_algorithm"] = _key(certificate)
    if not _VALIDITIES & set(chosen):
        validity = _validity(certificate)
        for member, value in validity.items():
            if _possible(member, value):
                request[member] = value
            else:
                lost.append(f"a validity of {value} days (a request may ask for {MAX_VALIDITY_DAYS}: --validity-days)")
    return DerivedRequest(request, tuple(lost))


def _said(certificate: x509.Certificate) -> Iterator[tuple[str | None, Any, str]]:
    """Each name and usage: the member of a request that asks for it, its value there, and how to show it."""
    for attribute in certificate.subject:
        yield _ATTRIBUTES.get(attribute.oid), attribute.value, attribute.rfc4514_string()
    for name in _extension(certificate, x509.SubjectAlternativeName):
        member = _LISTS.get(type(name))
        value = str(name.value) if member else None
        yield member, value, f"{type(name).__name__} {value}" if member else type(name).__name__
    known = {oid: name for name, oid in names.EXTENDED_KEY_USAGES.items()}
    for usage in _extension(certificate, x509.ExtendedKeyUsage):
        if usage != ExtendedKeyUsageOID.CLIENT_AUTH:
            text = known.get(usage, usage.dotted_string)
            yield "extended_key_usages", text, f"extended key usage {text}"


def _possible(member: str, value: Any) -> bool:
    """Whether a request may say this."""
    said = {member: value if member in _ATTRIBUTES.values() or member in _VALIDITIES else [value]}
    try:
        CertificateRequest.model_validate({"common_name": "any"} | said)
    except ValidationError:
        return False
    return True


def _key(certificate: x509.Certificate) -> str:
    """The kind of key that is no weaker."""
    match certificate.public_key():
        case ec.EllipticCurvePublicKey() as key:
            return KeyAlgorithm.EC_P256 if key.key_size <= 256 else KeyAlgorithm.EC_P384
        case rsa.RSAPublicKey() as key:
            sizes = {2048: KeyAlgorithm.RSA_2048, 3072: KeyAlgorithm.RSA_3072}
            return next((kind for size, kind in sizes.items() if key.key_size <= size), KeyAlgorithm.RSA_4096)
        case _:
            return KeyAlgorithm.EC_P256


def _validity(certificate: x509.Certificate) -> dict[str, int]:
    lives = certificate.not_valid_after_utc - certificate.not_valid_before_utc + timedelta(minutes=1)
    if lives >= timedelta(days=1):
        return {"validity_days": lives // timedelta(days=1)}
    return {"validity_hours": max(1, lives // timedelta(hours=1))}


def _extension(certificate: x509.Certificate, kind: type[Any]) -> list[Any]:
    try:
        return list(certificate.extensions.get_extension_for_class(kind).value)
    except x509.ExtensionNotFound:
        return []
