"""What the project says on EventBridge. The names here are the contract with operators' own rules."""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = "mtls-rotation"
TRUSTSTORE_SYNC_REQUESTED = "Truststore Sync Requested"
TRUSTSTORE_PUBLISHED = "Truststore Published"
TRUSTSTORE_ANCHOR_REJECTED = "Truststore Anchor Rejected"
TRUSTSTORE_ANCHOR_DISTRUSTED = "Truststore Anchor Distrusted"
TRUSTSTORE_DISTRUST_WITHDRAWN = "Truststore Distrust Withdrawn"
TRUSTSTORE_DISTRUST_REFUSED = "Truststore Distrust Refused"
TRUSTSTORE_ANCHOR_EXPIRING = "Truststore Anchor Expiring"
TRUSTSTORE_PUBLISH_STOPPED = "Truststore Publish Stopped"
TRUSTSTORE_DRIFT = "Truststore Drift"
TRUSTSTORE_WARNING = "Truststore Warning"
TRUSTSTORE_DOMAIN_STUCK = "Truststore Domain Stuck"
CLIENT_CERTIFICATE_ROTATED = "Client Certificate Rotated"
ROTATION_FAILED = "Rotation Failed"
CERTIFICATE_AUTHORITY_EXPIRING = "Certificate Authority Expiring"
CERTIFICATE_SIGNING_REQUESTED = "Certificate Signing Requested"
SIGNED_CERTIFICATE_ACCEPTED = "Signed Certificate Accepted"
SIGNED_CERTIFICATE_REJECTED = "Signed Certificate Rejected"
CERTIFICATE_REVOKED = "Certificate Revoked"
REVOCATION_WITHDRAWN = "Revocation Withdrawn"
REVOCATION_REFUSED = "Revocation Refused"
REVOCATION_LIST_PUBLISHED = "Revocation List Published"
REVOCATION_LIST_LOST = "Revocation List Lost"
PATH_PROBED = "Path Probed"


@dataclass(frozen=True, slots=True)
class Event:
    """Something to say.

    Attributes:
        resources: ARNs that it is about.
    """

    detail_type: str
    detail: dict[str, object]
    resources: tuple[str, ...] = ()
