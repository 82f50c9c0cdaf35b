"""What was issued, as a secret holds it and as the bucket files it."""

from __future__ import annotations

import logging
from itertools import pairwise
from shlex import quote
from typing import TYPE_CHECKING

from pydantic import SecretStr

from mtls_rotation.contract import layout
from mtls_rotation.contract.material import authorities_of, certificates_of
from mtls_rotation.contract.secret import ManagedSecret
from mtls_rotation.errors import InvalidSecretError, RejectedCertificateError
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.signatures import signed_by
from mtls_rotation.rotation.value import parse_value
from mtls_rotation.timing import to_rfc3339

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from mtls_rotation.aws.bucket import CertificateBucket
    from mtls_rotation.aws.secret_versions import SecretVersion

log = logging.getLogger(__name__)


def with_certificate(
    definition: ManagedSecret, issued: pki.CertifiedKey, now: datetime, version_id: str | None = None
) -> ManagedSecret:
    """The definition with what was issued at `now` for that version; the operator's own keys are carried over."""
    leaf = issued.certificate
    key_id: str | None = getattr(issued.key, "key_id", None)  # a key that is kept elsewhere
    return definition.model_copy(
        update={
            "certificate": pki.to_pem(leaf),
            "certificate_chain": pki.to_pem(*issued.chain),
            "anchor": pki.to_pem(issued.anchor),
            "private_key": None if key_id else SecretStr(pki.key_to_pem(issued.key)),
            "key_id": key_id,
            "serial_number": pki.serial(leaf),
            "fingerprint_sha256": pki.fingerprint(leaf),
            "not_before": to_rfc3339(leaf.not_valid_before_utc),
            "not_after": to_rfc3339(leaf.not_valid_after_utc),
            # A first CA has none before it that could go on issuing.
            "use_from": to_rfc3339(now + definition.notice) if definition.notice and definition.issued else None,
            "version_id": version_id,
        }
    )


def file_certificate(
    bucket: CertificateBucket,
    secret: ManagedSecret,
    name: str,
    version_id: str,
    *,
    known_anchors: Collection[str] = (),
) -> tuple[str, ...]:
    """Make sure that the bucket holds a version's public certificate and every CA certificate that it chains to.

    Args:
        bucket: where to.
        secret: what the version holds.
        name: the secret's.
        version_id: the version's.
        known_anchors: the fingerprints of CA certificates that are there already.

    Returns:
        The fingerprints of the CA certificates that it was filed under.

    Raises:
        RejectedCertificateError: one of the chain has not been signed by the next. What is filed under a CA is
            taken for verified by it: the sync reads no certificates to know what chains to what.
    """
    there = set(map(layout.managed_anchor_key, known_anchors))
    for key, body in objects_of(secret, name, version_id).items():
        if key not in there:
            bucket.put_once(key, body)
    filed_under = authorities_of(secret) if secret.issued and secret.gateway_trusts else ()
    return tuple(dict.fromkeys(map(pki.fingerprint, filed_under)))


def objects_of(secret: ManagedSecret, name: str, version_id: str) -> dict[str, str]:
    """What the bucket holds of a version: by key, each object's content. It raises what `file_certificate` does."""
    if not secret.issued:
        return {str(layout.EmptyKey(name, version_id)): ""}
    certificates, anchor = certificates_of(secret)
    for lower, upper in pairwise((*certificates, anchor) if certificates[0] != anchor else (anchor, anchor)):
        if not signed_by(lower, upper):
            raise RejectedCertificateError(
                where=f"secret {name}, version {version_id}",
                found=f"{pki.subject(lower)}, which {pki.subject(upper)} has not signed",
                expected="a certificate with its whole chain, in order",
                remedy="Rotate the secret anew; if it goes on, look at the issuer.",
            )
    serial_number, end = pki.serial(certificates[0]), certificates[0].not_valid_after_utc
    leaf = secret.certificate or ""
    if not secret.gateway_trusts:
        return {str(layout.OutsideKey(name, version_id, serial_number, end)): leaf}
    found = {}
    authorities = {pki.fingerprint(it): it for it in authorities_of(secret)}
    for fingerprint, authority in authorities.items():
        found[layout.managed_anchor_key(fingerprint)] = pki.to_pem(authority)
        key = layout.IssuedKey(fingerprint, name, version_id, serial_number, secret.kind == "ca", end, len(authorities))
        found[str(key)] = leaf
    return found


def note_held(bucket: CertificateBucket, secret: ManagedSecret, stored: SecretVersion) -> None:
    """Make sure that the bucket says of a version that is there already what it chains to, or that it holds nothing.

    An operator may have put it, or what was filed for it may be lost. Without a word of it nothing leaves the
    truststore, as nobody knows what a client of it needs. No CA is filed for it: what an operator puts into a secret
    has nobody trusted.
    """
    try:
        known = map(pki.fingerprint, authorities_of(secret)) if secret.issued else ()
        file_certificate(bucket, secret, stored.name, stored.version_id, known_anchors=frozenset(known))
    except (RejectedCertificateError, ValueError):
        log.warning(
            "holds a certificate that cannot be filed", extra={"secret": stored.name, "version": stored.version_id}
        )


def certified(stored: SecretVersion) -> ManagedSecret:
    """The version's value, which must hold a certificate.

    Raises:
        InvalidSecretError: it holds none.
    """
    try:
        secret = parse_value(stored.value, f"secret {stored.name}")
    except InvalidSecretError as error:
        raise _another_tools(stored, f"{error.found} in its value") from None
    if not secret.issued:
        raise _another_tools(stored, "a value without certificate, anchor or private_key")
    return secret


def _another_tools(stored: SecretVersion, found: str) -> InvalidSecretError:
    """The error about a version with a value that no step has put, with the way out. AWSCURRENT is not meant."""
    return InvalidSecretError(
        where=f"secret {stored.name}, version {stored.version_id}",
        found=found,
        expected="the value that createSecret puts",
        remedy="Somebody else put it. Take AWSPENDING off that version (`aws secretsmanager"
        f" update-secret-version-stage --secret-id {stored.name} --version-stage AWSPENDING"
        f" --remove-from-version-id {quote(stored.version_id)}`), and rotate anew.",
    )
