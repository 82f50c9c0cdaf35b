"""What runs the truststore, such as a custom domain name: which version, in which state, and the anchors in it.

Only this module knows how the engine's targets say that, and how a version is compared with the one that is published.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mtls_rotation.contract import layout
from mtls_rotation.errors import UnusableDomainError
from mtls_rotation.pki import bundles
from mtls_rotation.pki.verification import Verifier

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cryptography import x509

    from mtls_rotation.aws.bucket import CertificateBucket
    from mtls_rotation.targets import api
    from mtls_rotation.truststore.sync import Preview
    from mtlsctl.stack.deployment import Deployment


@dataclass(frozen=True)
class Target:
    """A target, and what it runs.

    Attributes:
        exists: False if there is no such target, or it checks no client certificates.
        version_id: the truststore's object version; None if it names none.
        state: the target's own word, such as AVAILABLE; empty where it does not exist.
        settled: whether that is what requests are checked against, with no update under way.
        warnings: what the target says is wrong with certificates in it.
        problem: why it runs no truststore of the stack that can be read; empty if it does.
        anchors: by fingerprint; None where there is a problem.
    """

    name: str
    exists: bool = True
    version_id: str | None = None
    state: str = ""
    settled: bool = True
    warnings: tuple[str, ...] = ()
    problem: str = ""
    anchors: Mapping[str, x509.Certificate] | None = None
    _verifiers: dict[datetime, Verifier] = field(default_factory=dict, repr=False, compare=False)

    def runs(self, preview: Preview) -> bool:
        """Whether it runs, or is about to run, the truststore that is published."""
        return self.exists and not self.problem and self.version_id == preview.version_id

    def verifier(self, now: datetime) -> Verifier:
        """What judges certificates by its anchors. Kept, as to read those takes longer than to judge a certificate."""
        if now not in self._verifiers:
            self._verifiers[now] = Verifier((self.anchors or {}).values(), now)
        return self._verifiers[now]


def published_version(preview: Preview) -> str | None:
    """The object version of the truststore that is published; None before the first."""
    return preview.version_id or None


def targets_of(deployment: Deployment) -> tuple[Target, ...]:
    """Every target of the stack."""
    return tuple(_seen(it, deployment.assembly.bucket) for it in deployment.assembly.domains)


def look_at(target: api.Target, bucket: CertificateBucket) -> Target:
    """A target as it is now.

    Raises:
        UnusableDomainError: it checks no client certificates.
    """
    running = target.deployed()
    if running is None:
        return Target(target.name, exists=False, problem="no such domain name")
    anchors = None
    if running.uri != bucket.truststore_uri:
        problem = f"runs {running.uri}, which is not the stack's truststore"
    elif stored := bucket.read(layout.TRUSTSTORE, running.version_id):
        problem, anchors = "", bundles.certificates(stored.body)
    else:
        problem = "runs an object version that is gone"
    return Target(
        target.name,
        version_id=running.version_id,
        state=running.status,
        settled=running.settled,
        warnings=running.warnings,
        problem=problem,
        anchors=anchors,
    )


def _seen(target: api.Target, bucket: CertificateBucket) -> Target:
    try:
        return look_at(target, bucket)
    except UnusableDomainError as error:
        return Target(target.name, exists=False, problem=error.found)
