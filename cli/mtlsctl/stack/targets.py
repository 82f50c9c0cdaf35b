"""What runs the truststore, such as a custom domain name: which version, in which state, and the anchors in it.

Only this module knows how the engine's targets say that, and how a version is compared with the one that is published.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mtls_rotation.contract import layout
from mtls_rotation.errors import UnusableDomainError
from mtls_rotation.pki import bundles
from mtls_rotation.pki.servers import Servers
from mtls_rotation.targets import api
from mtls_rotation.truststore.state import SyncState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cryptography import x509

    from mtls_rotation.aws.bucket import CertificateBucket
    from mtls_rotation.truststore.sync import Preview
    from mtlsctl.stack.deployment import Deployment

NO_DOMAIN = "no such domain name"


@dataclass(frozen=True)
class Target:
    """A target, and what it runs.

    Attributes:
        exists: False if there is no such target, or it checks no client certificates.
        version_id: the truststore's object version; None if it names none.
        state: the target's own word, such as AVAILABLE; empty where it does not exist.
        settled: whether that is what requests are checked against.
        stuck: whether it does not come to that by itself: an update has failed, or waits for somebody.
        message: what it says of its state.
        warnings: what the target says is wrong with certificates in it.
        names_version: whether it tells by an object version what it runs.
        key: of the edition that it should run.
        problem: why it runs no truststore of the stack that can be read; empty if it does.
        anchors: by fingerprint; None where there is a problem.
    """

    name: str
    exists: bool = True
    version_id: str | None = None
    state: str = ""
    settled: bool = True
    stuck: bool = False
    message: str = ""
    warnings: tuple[str, ...] = ()
    names_version: bool = True
    key: str = layout.TRUSTSTORE
    problem: str = ""
    anchors: Mapping[str, x509.Certificate] | None = None
    _servers: dict[datetime, Servers] = field(default_factory=dict, repr=False, compare=False)

    @property
    def condition(self) -> str:
        """Its state with what it says of it."""
        return f"{self.state}: {self.message}" if self.message else self.state

    def runs(self, preview: Preview) -> bool:
        """Whether it runs, or is about to run, the truststore that is published."""
        edition = preview.editions.get(self.key)
        if edition is None or not self.exists or self.problem:
            return False
        if self.names_version:
            return self.version_id == edition.version_id
        return frozenset(self.anchors or ()) == edition.anchors

    def servers(self, now: datetime) -> Servers:
        """What judges certificates by its anchors. Kept, as to read those takes longer than to judge a certificate."""
        if now not in self._servers:
            self._servers[now] = Servers((self.anchors or {}).values(), now)
        return self._servers[now]


def published_version(preview: Preview) -> str | None:
    """The object version of the truststore that is published; None before the first."""
    return preview.version_id or None


def targets_of(deployment: Deployment) -> tuple[Target, ...]:
    """Every target of the stack."""
    return tuple(_seen(it, deployment.services.bucket) for it in deployment.assembly.targets)


def look_at(target: api.Target, bucket: CertificateBucket) -> Target:
    """A target as it is now.

    Raises:
        UnusableDomainError: it checks no client certificates.
    """
    running = target.running()
    if running is None:
        return Target(target.name, exists=False, problem=NO_DOMAIN)
    version = running.evidence if isinstance(running.evidence, api.ObjectVersion) else None
    try:
        problem, anchors = "", _anchors(target, running, bucket)
    except LookupError as error:
        problem, anchors = str(error), None
    return Target(
        target.name,
        version_id=version.version_id if version else None,
        state=running.status,
        settled=running.settled,
        stuck=running.stuck,
        message=running.message,
        warnings=running.warnings,
        names_version=version is not None,
        key=target.limits.key,
        problem=problem,
        anchors=anchors,
    )


def _anchors(target: api.Target, running: api.Running, bucket: CertificateBucket) -> Mapping[str, x509.Certificate]:
    """The anchors that it runs, by fingerprint.

    Raises:
        LookupError: it runs no truststore of the stack that can be read.
    """
    match running.evidence:
        case api.ObjectVersion(uri, version_id):
            if uri != bucket.uri(target.limits.key):
                raise LookupError(f"runs {uri}, which is not the stack's truststore")
            if version_id is None:
                raise LookupError("does not say which version of the truststore it runs")
            anchors = _published(target, version_id, bucket)
            if anchors is None:
                raise LookupError("runs an object version that is gone")
            return anchors
        case _:
            state = bucket.read(layout.SYNC_NOTES)
            receipt = SyncState.parse(state.body).receipts.get(target.name) if state else None
            published = _published(target, None, bucket) or {}
            trusted = api.anchors_of(
                running, receipt, lambda it: frozenset(_published(target, it.version_id, bucket) or ())
            )
            if trusted is None or not trusted <= published.keys():
                raise LookupError("runs another truststore than the one that is published")
            return {key: published[key] for key in trusted}


def _published(
    target: api.Target, version_id: str | None, bucket: CertificateBucket
) -> Mapping[str, x509.Certificate] | None:
    """The anchors in a version of the edition that a target should run, or in the latest; None if it is gone."""
    stored = bucket.read(target.limits.key, version_id)
    return bundles.certificates(stored.body) if stored else None


def _seen(target: api.Target, bucket: CertificateBucket) -> Target:
    try:
        return look_at(target, bucket)
    except UnusableDomainError as error:
        return Target(target.name, exists=False, problem=error.found)
