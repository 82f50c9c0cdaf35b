"""Whether a certificate that somebody else issued is the one that was asked for, as a list of named checks. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.hashes import MD5, SHA1, SHA224

from mtls_rotation.pki import names, profile
from mtls_rotation.pki.distinguished_names import DistinguishedName

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

    from mtls_rotation.pki.request import CertificateRequest

    type Check = Callable[[CertificateRequest, x509.Certificate], str | None]

# Issuers round: to whole days, or to the end of one.
TOLERANCE = timedelta(days=1)
TOLERANCE_SHARE = 0.05


def violations(
    request: CertificateRequest, certificate: x509.Certificate, public_key: CertificatePublicKeyTypes
) -> list[str]:
    """Why a certificate does not meet the request that was made for `public_key`; empty if it does.

    More than was asked for is the issuer's choice: further names, further usages, a longer life.
    """
    if certificate.public_key() != public_key:
        return ["it is for another key"]
    try:
        return [reason for check in CHECKS if (reason := check(request, certificate))]
    except ValueError as error:
        return [f"its extensions cannot be read: {error}"]


def _is_version_3(_: CertificateRequest, certificate: x509.Certificate) -> str | None:
    return None if certificate.version is x509.Version.v3 else f"it is X.509 {certificate.version.name}, not v3"


def _has_the_subject(request: CertificateRequest, certificate: x509.Certificate) -> str | None:
    subject = DistinguishedName.of(certificate.subject)
    has = {attribute.folded for part in subject.parts for attribute in part}
    wanted = (attribute for part in DistinguishedName.of(profile.subject(request)).parts for attribute in part)
    missing = [str(it) for it in wanted if it.folded not in has]
    return f"its subject {subject} lacks {', '.join(missing)}" if missing else None


def _has_the_names(request: CertificateRequest, certificate: x509.Certificate) -> str | None:
    extension = _extension(certificate, x509.SubjectAlternativeName)
    has = {names.folded(it) for it in extension or ()}
    missing = [str(it.value) for it in profile.alternative_names(request) if names.folded(it) not in has]
    return f"its subject alternative names lack {', '.join(missing)}" if missing else None


def _is_no_authority(_: CertificateRequest, certificate: x509.Certificate) -> str | None:
    constraints = _extension(certificate, x509.BasicConstraints)
    return "it is a CA's certificate, not a client's" if constraints and constraints.ca else None


def _may_sign_handshakes(_: CertificateRequest, certificate: x509.Certificate) -> str | None:
    usage = _extension(certificate, x509.KeyUsage)
    return "its key usage lacks digitalSignature" if usage and not usage.digital_signature else None


def _has_the_usages(request: CertificateRequest, certificate: x509.Certificate) -> str | None:
    extension = _extension(certificate, x509.ExtendedKeyUsage)
    has = set(extension or ())
    known = {oid: name for name, oid in names.EXTENDED_KEY_USAGES.items()}
    missing = [known.get(it, it.dotted_string) for it in profile.extended_key_usages(request) if it not in has]
    return f"its extended key usage lacks {', '.join(missing)}" if missing else None


def _is_signed_strongly(_: CertificateRequest, certificate: x509.Certificate) -> str | None:
    digest = certificate.signature_hash_algorithm
    if isinstance(digest, MD5 | SHA1 | SHA224):
        return f"it is signed with {digest.name.upper()}, where SHA-256 or stronger is required"
    return None


def _lives_long_enough(request: CertificateRequest, certificate: x509.Certificate) -> str | None:
    lives = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    if lives >= request.validity - min(TOLERANCE, request.validity * TOLERANCE_SHARE):
        return None
    return f"it is valid for {_span(lives)}, where {_span(request.validity)} were asked for"


def _span(span: timedelta) -> str:
    return f"{span.days} days" if span.days else f"{span.total_seconds() / 3600:.0f} hours"


def _extension[T: x509.ExtensionType](certificate: x509.Certificate, kind: type[T]) -> T | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


CHECKS: tuple[Check, ...] = (
    _is_version_3,
    _has_the_subject,
    _has_the_names,
    _is_no_authority,
    _may_sign_handshakes,
    _has_the_usages,
    _is_signed_strongly,
    _lives_long_enough,
)
