"""One reconcile: look, decide, publish, deploy. It acts only on a difference, so it may run at any time and often."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from cryptography import x509

from mtls_rotation import bucket as layout
from mtls_rotation.bus import TRUSTSTORE_ANCHOR_REJECTED, TRUSTSTORE_PUBLISHED, TRUSTSTORE_WARNING
from mtls_rotation.errors import TruststoreGuardError
from mtls_rotation.pki.certificates import fingerprint, to_rfc3339
from mtls_rotation.truststore import bundle
from mtls_rotation.truststore.plan import Issued, Observation, Plan, Settings, StaticEntry, decide
from mtls_rotation.versions import AWSCURRENT, AWSPENDING, HELD_LABELS, SecretDescription, end_of_issuing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mtls_rotation.bucket import CertificateBucket, Stored
    from mtls_rotation.bus import EventBus
    from mtls_rotation.timing import Deadline
    from mtls_rotation.truststore.domain import Deployed, GatewayDomain
    from mtls_rotation.versions import SecretVersions

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What one reconcile found and did.

    Attributes:
        version_id: the object version of the truststore that is published now; empty where there is none to publish.
        updated_domains: the domain names that were told to run it in this run.
        warnings: by domain name, what API Gateway says is wrong with the truststore.
    """

    plan: Plan
    version_id: str
    published: bool
    updated_domains: tuple[str, ...]
    warnings: Mapping[str, tuple[str, ...]]


class TruststoreSync:
    """Brings the truststore and the domains that run it in line with what is live.

    Reads no secret value: which anchor a version hangs on is in the keys under `issued/`.
    """

    def __init__(
        self,
        *,
        versions: SecretVersions,
        bucket: CertificateBucket,
        bus: EventBus,
        domains: Sequence[GatewayDomain],
        tag: tuple[str, str],
        settings: Settings,
        clock: Callable[[], datetime],
    ) -> None:
        self._versions = versions
        self._bucket = bucket
        self._bus = bus
        self._domains = domains
        self._tag = tag
        self._settings = settings
        self._clock = clock

    def run(self, deadline: Deadline, named: Iterable[tuple[str, str]] = (), *, force: bool = False) -> SyncResult:
        """Reconcile once.

        Args:
            deadline: until when to wait for a domain to become AVAILABLE.
            named: (secret ARN, version id) that events in hand name; each is asked for, as the listing may lag.
            force: publish even what a guard refuses, except an empty truststore.

        Raises:
            TruststoreGuardError: the plan is not safe; nothing was changed.
            DomainBusyError: published, but a domain takes no update now.
            SupersededError: another reconcile published at the same time.
        """
        published = self._bucket.read(layout.TRUSTSTORE)
        retiring = self._bucket.read(layout.RETIRING)
        plan = decide(self._observe(published, retiring, named), self._settings)
        if not plan.anchors and published is None and not self._domains:
            # A stack whose clients are all known elsewhere: there is no gateway, and nothing for one to trust.
            return SyncResult(plan, "", published=False, updated_domains=(), warnings={})
        if plan.refusal and not (force and plan.anchors):
            raise TruststoreGuardError(
                where=f"{self._bucket.truststore_uri}",
                found=plan.refusal,
                expected="a truststore in which every client that is accepted now stays accepted",
                remedy="Look at what was removed; if it is meant, run the sync with force.",
            )
        body = bundle.render(anchor.certificate for anchor in plan.anchors.values())
        changed = published is None or bundle.fingerprints(published.body) != frozenset(plan.anchors)
        if changed or published is None:
            published = self._bucket.replace(layout.TRUSTSTORE, body, published)
            self._announce(plan, published)
        self._remember_retiring(plan, retiring)
        updated = self._deploy(published.version_id)
        return SyncResult(
            plan=plan,
            version_id=published.version_id,
            published=changed,
            updated_domains=updated,
            warnings=self._read_back(updated, deadline),
        )

    def _observe(
        self, published: Stored | None, retiring: Stored | None, named: Iterable[tuple[str, str]]
    ) -> Observation:
        deployed = _by_fingerprint(bundle.parse(published.body)) if published else {}
        descriptions = list(self._versions.list_tagged(*self._tag))
        descriptions += self._describe_named(sorted({arn for arn, _ in named}))
        issued = [
            Issued(key.anchor, key.secret, key.version_id, entry.modified, key.authority)
            for entry in self._bucket.list(layout.ISSUED)
            if (key := layout.IssuedKey.parse(entry.key))
        ]
        now = self._clock()
        return Observation(
            now=now,
            live=frozenset(_versions_at(descriptions, lambda label: label in HELD_LABELS)),
            issuing=frozenset(_versions_at(descriptions, lambda label: _issues(label, now))),
            in_place=frozenset(_versions_at(descriptions, lambda label: label != AWSPENDING)),
            issued=tuple(issued),
            managed=self._read_managed({entry.anchor for entry in issued}, deployed),
            static=tuple(self._read_static()),
            deployed=deployed,
            unused_since=_parse_retiring(retiring),
        )

    def _describe_named(self, arns: Iterable[str]) -> Iterable[SecretDescription]:
        """The secrets that events name. Events come for every secret of the account; others' cannot be described."""
        for arn in arns:
            try:
                yield self._versions.describe(arn)
            except ClientError as error:
                if error.response["Error"]["Code"] not in {"ResourceNotFoundException", "AccessDeniedException"}:
                    raise
                log.info("passed over a secret that is gone or not the stack's", extra={"secret": arn})

    def _read_managed(
        self, anchors: Iterable[str], deployed: Mapping[str, x509.Certificate]
    ) -> dict[str, x509.Certificate]:
        """The anchors' certificates; those that are deployed are in hand already and not fetched again."""
        found = {}
        for anchor in sorted(anchors):
            if anchor in deployed:
                found[anchor] = deployed[anchor]
            elif stored := self._bucket.read(layout.managed_anchor_key(anchor)):
                # The key is the fingerprint: whatever else the object may hold is not this anchor.
                found |= {
                    key: value for key, value in _by_fingerprint(bundle.parse(stored.body)).items() if key == anchor
                }
        return found

    def _read_static(self) -> Iterable[StaticEntry]:
        for entry in self._bucket.list(layout.STATIC_ANCHORS):
            if stored := self._bucket.read(entry.key):
                yield from (StaticEntry(entry.key, content) for content in bundle.parse(stored.body))

    def _announce(self, plan: Plan, published: Stored) -> None:
        detail: dict[str, object] = {
            "truststore_uri": self._bucket.truststore_uri,
            "version_id": published.version_id,
            "anchors": len(plan.anchors),
            "added": sorted(plan.added),
            "removed": sorted(plan.removed),
        }
        self._bus.put(TRUSTSTORE_PUBLISHED, detail)
        for entry in plan.left_out:
            if entry.rejected:
                rejected: dict[str, object] = {
                    "where": entry.where,
                    "subject": entry.subject,
                    "fingerprint_sha256": entry.fingerprint,
                    "reason": entry.reason,
                }
                self._bus.put(TRUSTSTORE_ANCHOR_REJECTED, rejected)

    def _remember_retiring(self, plan: Plan, stored: Stored | None) -> None:
        if plan.unused_since != _parse_retiring(stored):
            since = {key: to_rfc3339(moment) for key, moment in sorted(plan.unused_since.items())}
            self._bucket.replace(layout.RETIRING, json.dumps(since, indent=1).encode(), stored)

    def _deploy(self, version_id: str) -> tuple[str, ...]:
        updated = []
        for domain in self._domains:
            current = domain.deployed()
            if current and not _runs(current, self._bucket.truststore_uri, version_id):
                domain.deploy(current, self._bucket.truststore_uri, version_id)
                updated.append(domain.name)
        return tuple(updated)

    def _read_back(self, updated: Sequence[str], deadline: Deadline) -> dict[str, tuple[str, ...]]:
        warnings = {}
        for domain in self._domains:
            if domain.name in updated and (shown := domain.await_settled(deadline)) and shown.warnings:
                warnings[domain.name] = shown.warnings
                self._bus.put(TRUSTSTORE_WARNING, {"domain_name": domain.name, "warnings": list(shown.warnings)})
        return warnings


def _runs(current: Deployed, uri: str, version_id: str) -> bool:
    return (current.uri, current.version_id) == (uri, version_id)


def _versions_at(descriptions: Iterable[SecretDescription], counts: Callable[[str], bool]) -> Iterable[tuple[str, str]]:
    for description in descriptions:
        for version, labels in description.stages.items():
            if any(map(counts, labels)):
                yield description.name, version


def _issues(label: str, now: datetime) -> bool:
    """Whether a CA version with this label issues, or is about to."""
    until = end_of_issuing(label)
    return label in {AWSCURRENT, AWSPENDING} or (until is not None and now < until)


def _by_fingerprint(entries: Iterable[x509.Certificate | bundle.Unreadable]) -> dict[str, x509.Certificate]:
    return {fingerprint(entry): entry for entry in entries if isinstance(entry, x509.Certificate)}


def _parse_retiring(stored: Stored | None) -> dict[str, datetime]:
    if stored is None:
        return {}
    try:
        return {key: datetime.fromisoformat(moment) for key, moment in json.loads(stored.body).items()}
    except (ValueError, AttributeError, TypeError):
        # Someone edited it: every anchor on its way out starts its overlap afresh, which removes nothing too early.
        return {}
