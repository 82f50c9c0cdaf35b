"""Certificate revocation lists (RFC 5280, section 5): how one is made, and when the next is due. Calls nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_rotation.pki.certificates import signature_digest
from mtls_rotation.pki.profile import BACKDATE
from mtls_rotation.revocation.register import Revoked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mtls_rotation.pki.certificates import SigningKey

# Twenty octets with the sign, less what is ever added (RFC 5280, section 5.2.3).
_MOST_NUMBERS = 1 << 158
# Twenty octets with the sign.
_BEYOND = 1 << 159
_ENTRY_REASONS = {flag.value: flag for flag in x509.ReasonFlags}


def build(
    ca: x509.Certificate,
    key: SigningKey,
    revoked: Iterable[Revoked],
    previous: x509.CertificateRevocationList | None,
    now: datetime,
    validity: timedelta,
) -> bytes:
    """A CRL in DER, signed by `ca`'s key.

    It bears what RFC 5280, section 5.2, asks for: the authority key identifier and a number that only grows. The number
    is the time in seconds, so that it grows even where the previous list was lost.

    Args:
        ca: the CA.
        key: its private key.
        revoked: what is revoked of it. What has a serial number that no CRL may hold is left out.
        previous: the CRL that this one takes the place of.
        now: when it is made, to the second.
        validity: until the next update.
    """
    moment = now.astimezone(UTC).replace(microsecond=0)
    number = max(int(moment.timestamp()), _number(previous) + 1)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.subject)
        # A server whose clock is behind would refuse every client over a list from its future.
        .last_update(max(moment - BACKDATE, ca.not_valid_before_utc))
        .next_update(moment + validity)
        .add_extension(_authority_key_identifier(ca), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for entry in _entries(revoked):
        builder = builder.add_revoked_certificate(_entry(entry))
    return builder.sign(key, signature_digest(key)).public_bytes(Encoding.DER)


def parse(der: bytes) -> x509.CertificateRevocationList | None:
    """A CRL that `build` made; None if it is something else."""
    try:
        crl = x509.load_der_x509_crl(der)
        # Parsing is lazy. What somebody broke is made anew, and must not keep it from being so.
        _ = crl.last_update_utc, crl.next_update_utc, [(_reason(it), it.revocation_date_utc) for it in crl]
        return crl if 0 <= _number(crl) < _MOST_NUMBERS else None
    except Exception:  # noqa: BLE001 - the library has a kind for each thing that may be wrong with one
        return None


def is_due(
    ca: x509.Certificate, revoked: Iterable[Revoked], published: x509.CertificateRevocationList | None, now: datetime
) -> bool:
    """Whether a CA's CRL must be made anew: what it should say has changed, or half of its time has gone."""
    if published is None or published.next_update_utc is None:
        return True
    if not _is_signed_by(published, ca):
        return True
    half = published.last_update_utc + (published.next_update_utc - published.last_update_utc) / 2
    if now >= half:
        return True
    wanted = {(int(it.certificate.serial_number, 16), it.at, it.reason) for it in _entries(revoked)}
    return wanted != {(it.serial_number, it.revocation_date_utc, _reason(it)) for it in published}


def _is_signed_by(crl: x509.CertificateRevocationList, ca: x509.Certificate) -> bool:
    try:
        return crl.is_signature_valid(ca.public_key())  # type: ignore[arg-type] # a CA's key is one that signs
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


def can_hold(revoked: Revoked) -> bool:
    """Whether a CRL may hold it: a serial number above 0 and of twenty octets at most (RFC 5280, section 4.1.2.2)."""
    return 0 < int(revoked.certificate.serial_number, 16) < _BEYOND


def _entries(revoked: Iterable[Revoked]) -> Sequence[Revoked]:
    """Each serial number once, in their order."""
    found = {it.certificate.serial_number: it for it in revoked if can_hold(it)}
    return [found[number] for number in sorted(found)]


def _entry(revoked: Revoked) -> x509.RevokedCertificate:
    builder = (
        x509.RevokedCertificateBuilder()
        .serial_number(int(revoked.certificate.serial_number, 16))
        .revocation_date(revoked.at)
    )
    # "unspecified" is said by saying nothing (RFC 5280, section 5.3.1).
    if revoked.reason != "unspecified":
        builder = builder.add_extension(x509.CRLReason(_ENTRY_REASONS[revoked.reason]), critical=False)
    return builder.build()


def _reason(entry: x509.RevokedCertificate) -> str:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except x509.ExtensionNotFound:
        return "unspecified"


def _number(crl: x509.CertificateRevocationList | None) -> int:
    if crl is None:
        return 0
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0


def _authority_key_identifier(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
