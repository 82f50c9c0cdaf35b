"""Every metric of the stack's own: what a function writes, with which dimensions. A test holds it to a real run.

What alarms and the dashboard watch is compared with this, and so is the runbook's table.
"""

from __future__ import annotations

NAMESPACE = "MtlsRotation"
OF_A_STEP = ("service", "stack", "step")
OF_A_SERVICE = ("service", "stack")

# Service → dimensions → names.
METRICS: dict[str, dict[tuple[str, ...], set[str]]] = {
    "rotate": {
        OF_A_STEP: {"StepSucceeded", "StepFailed", "StepWaiting", "StepDuration"},
        OF_A_SERVICE: {"RotationSucceeded", "RotationFailed", "RotationWaiting"},
    },
    "truststore_sync": {
        OF_A_SERVICE: {
            "SyncSucceeded",
            "SyncFailed",
            "PublishStopped",
            "SyncDuration",
            "Anchors",
            "AnchorsAdded",
            "AnchorsRemoved",
            "AnchorsRejected",
            "TruststorePublished",
            "TruststoreWarnings",
            "DomainUpdates",
            "DomainsDrifted",
            "DomainsStuck",
            "Postponed",
            "ClientDaysToExpiry",
            "CaDaysToExpiry",
            "AnchorDaysToExpiry",
        },
        ("secret", "stack"): {"DaysToExpiry"},
        ("anchor", "stack"): {"DaysToExpiry"},
    },
    "revocation": {
        OF_A_SERVICE: {"CertificatesRevoked", "RevocationsRefused", "RevocationListsPublished", "RevocationFailed"}
    },
    "authorizer": {OF_A_SERVICE: {"RequestDenied", "AuthorizationFailed"}},
    "mtls_proxy": {OF_A_SERVICE: {"UpstreamFailed", "RequestRefused"}},
    "signed_certificate": {OF_A_SERVICE: {"SignedCertificateAccepted", "SignedCertificateRejected"}},
    "bootstrap": {},
}
