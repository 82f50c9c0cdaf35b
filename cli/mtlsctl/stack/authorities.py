"""The CAs of the stack's CA secrets, by their public certificates in the bucket. No secret's value is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

from mtls_rotation.aws.certificate_index import CertificateIndex
from mtls_rotation.contract import layout
from mtls_rotation.contract.labels import AWSCURRENT, end_of_issuing

if TYPE_CHECKING:
    from datetime import datetime

    from mtls_rotation.aws.bucket import CertificateBucket
    from mtls_rotation.aws.secret_versions import SecretDescription


def issuing(bucket: CertificateBucket, secret: SecretDescription, now: datetime) -> x509.Certificate | None:
    """The CA certificate that a CA secret issues from now; None if none is filed that is in date."""
    version = _issuing_version(secret, now)
    index = CertificateIndex.read(bucket, layout.ISSUED)
    for filed in index.of_version(secret.name, version):
        if filed.authority and (certificate := index.certificate(filed)):
            return certificate if certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc else None
    return None


def secret_of(bucket: CertificateBucket, fingerprint: str) -> str | None:
    """The name of the CA secret that holds, or held, the CA with this fingerprint."""
    authorities = CertificateIndex.read(bucket, layout.ISSUED).authorities
    return next((it.secret for it in authorities if it.anchor == fingerprint), None)


def _issuing_version(secret: SecretDescription, now: datetime) -> str | None:
    """AWSCURRENT, or during the notice of a successor the version that goes on issuing."""
    for version, labels in secret.stages.items():
        if any((end := end_of_issuing(label)) is not None and end > now for label in labels):
            return version
    return secret.version_at(AWSCURRENT)
