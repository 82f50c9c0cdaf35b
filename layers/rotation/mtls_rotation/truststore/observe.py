"""What there is: labels, filed certificates, anchors, and what is published. It reads, and changes nothing."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mtls_rotation.aws.certificate_index import CertificateIndex
from mtls_rotation.aws.secret_versions import out_of_reach
from mtls_rotation.aws.stack_secrets import untagged_among
from mtls_rotation.contract import layout
from mtls_rotation.contract.labels import AWSCURRENT, AWSPENDING, HELD_LABELS, end_of_issuing, secret_name
from mtls_rotation.contract.tags import STACK_TAG
from mtls_rotation.pki import bundles
from mtls_rotation.truststore import distrust
from mtls_rotation.truststore.anchor_objects import AnchorObjects, AnchorReader, Bounds
from mtls_rotation.truststore.deployed import Deployed, DeployedReader, anchors_of_all
from mtls_rotation.truststore.held import HeldReader
from mtls_rotation.truststore.observation import DistrustEntry, Observation, StaticEntry
from mtls_rotation.truststore.plan import needed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cryptography import x509

    from mtls_rotation.aws.bucket import Listed, Stored
    from mtls_rotation.aws.certificate_index import FiledCertificate
    from mtls_rotation.aws.secret_versions import SecretDescription
    from mtls_rotation.aws.services import Services
    from mtls_rotation.targets.api import Limits, Running
    from mtls_rotation.truststore.plan import Settings
    from mtls_rotation.truststore.state import AnchorObject, SyncState

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is there: the observation, and the objects that it was made from.

    Attributes:
        seen: its `deployed` is of all editions; `of` has those of one.
        current: by name of a secret, its version at AWSCURRENT; without secrets that are marked for deletion.
        outside: the certificates that no gateway of ours is to trust.
        empty: the notes of versions that hold none.
        gone: the secrets that the index knows and Secrets Manager does not have.
        closely: whether every secret of the account was looked at.
        managed: by fingerprint of an anchor that rotation issues from, when it was written.
        published: by key, the objects of the editions that are published.
        deployed: by key of an edition, what is deployed of it.
        anchor_objects: by key, the objects under `anchors/`.
        unfinished: whether some of them are still to be read.
        lost: by fingerprint, the managed anchors that are needed and deployed, and whose objects are gone or another's.
    """

    seen: Observation
    current: Mapping[str, str]
    outside: tuple[FiledCertificate, ...]
    empty: tuple[FiledCertificate, ...]
    gone: frozenset[str]
    closely: bool
    managed: Mapping[str, datetime]
    published: Mapping[str, Stored]
    deployed: Mapping[str, Deployed]
    anchor_objects: Mapping[str, AnchorObject]
    unfinished: bool
    lost: Mapping[str, x509.Certificate]

    def of(self, key: str) -> Observation:
        """The observation for the edition of this key."""
        deployed = self.deployed.get(key, Deployed())
        return replace(
            self.seen,
            deployed=deployed.anchors,
            in_force=deployed.in_force,
            unreadable=deployed.unreadable,
            ours=deployed.ours,
        )


class Observer:
    """Looks at everything that counts. Reads no secret value: which anchor a version chains to is in the keys."""

    def __init__(self, services: Services, settings: Settings, bounds: Bounds) -> None:
        self._versions = services.versions
        self._bucket = services.bucket
        self._stack = services.stack
        self._clock = services.clock
        self._settings = settings
        self._deployed = DeployedReader(services.bucket)
        self._held = HeldReader(services.bucket)
        self._bounds = bounds

    def published(self, limits: Iterable[Limits]) -> dict[str, Stored]:
        """By key, the editions for these limits that are published."""
        return {it.key: stored for it in limits if (stored := self._bucket.read(it.key))}

    def observe(
        self,
        published: Mapping[str, Stored],
        running: Mapping[str, Mapping[str, Running]],
        state: SyncState,
        named: Iterable[tuple[str, str]],
        capacity: int,
        *,
        closely: bool = False,
    ) -> Snapshot:
        """Look at everything else.

        Args:
            published: the editions; they and the state are read first, so that what changes meanwhile is noticed.
            running: by key of an edition, what each target shows that is to run it.
            state: what is remembered.
            named: (secret ARN, version id) that events in hand name; the listing may not show them yet.
            capacity: how many certificates the largest edition takes.
            closely: look at every secret of the account: one that has lost the stack's tag is ours all the same.
        """
        now = self._clock()
        # Labels before certificates: a version that is listed has been filed before, or is about to be and named later.
        descriptions = list(self._versions.list_tagged(STACK_TAG, self._stack))
        others = list(self._versions.list_all()) if closely else []
        index = CertificateIndex.read(self._bucket)
        issued = index.issued
        missing = index.secrets - {it.name for it in descriptions}
        known_gone = frozenset() if closely else state.gone & missing
        if not closely:
            others = list(self._versions.list_named(missing - known_gone))
        untagged = list(untagged_among(others, descriptions, missing))
        gone = known_gone | missing.difference(it.name for it in others)
        descriptions += untagged
        descriptions += self._describe_unlisted(named, descriptions, issued, now)
        deployed = {
            key: self._deployed.read(key, published.get(key), running.get(key, {}), state)
            for key in {*published, *running}
        }
        seen = Observation(
            now=now,
            live=frozenset(_versions_at(descriptions, lambda label: label in HELD_LABELS)),
            issuing=frozenset(_versions_at(descriptions, lambda label: _issues(label, now))),
            in_place=frozenset(_versions_at(descriptions, lambda label: label != AWSPENDING)),
            unclear=frozenset(it.name for it in descriptions if not it.stages),
            settled=frozenset((it.secret, it.version_id) for it in (*index.outside, *index.empty)),
            untagged=tuple(sorted(it.name for it in untagged)),
            issued=issued,
            deployed=anchors_of_all(deployed.values()),
            # Notes that were brought back from last week tell of an overlap that another may have followed.
            unused_since=state.unused_since if all(it.noted for it in deployed.values()) else {},
        )
        anchors = AnchorReader(self._bucket, self._bounds.for_truststores_of(capacity))
        listing = anchors.list(state.anchor_objects)
        filed = {key: it.modified for it in listing.managed if (key := layout.managed_anchor(it.key))}
        seen = replace(seen, distrusted=_distrusted(listing.distrusted, {}))
        wanted = needed(seen, self._settings)
        objects = anchors.read(listing, state.anchor_objects, wanted, now)
        seen = replace(
            seen,
            managed=_managed(objects.known),
            filed=frozenset(filed),
            static=tuple(_static(objects)),
            distrusted=_distrusted(listing.distrusted, objects.known),
            out_of_sight=_out_of_sight(seen, state) if listing.goes_on else frozenset(),
        )
        return Snapshot(
            seen=replace(seen, held=self._held.read(seen)),
            outside=index.outside,
            empty=index.empty,
            gone=gone,
            closely=closely,
            current={
                it.name: version for it in descriptions if not it.deleted and (version := it.version_at(AWSCURRENT))
            },
            managed=filed,
            published=published,
            deployed=deployed,
            anchor_objects=objects.known,
            unfinished=objects.unfinished,
            lost={
                key: seen.deployed[key]
                for key in sorted(wanted & set(seen.deployed))
                if not objects.unfinished
                and not _holds(objects.known.get(layout.managed_anchor_key(key)), seen.deployed[key])
            },
        )

    def _describe_unlisted(
        self,
        named: Iterable[tuple[str, str]],
        listed: Iterable[SecretDescription],
        issued: Iterable[FiledCertificate],
        now: datetime,
    ) -> list[SecretDescription]:
        """The secrets that events name and that the listing may show too late.

        Events come for every secret of the account, in bursts. So a secret is asked for only if something was issued
        for it, the listing does not show the named version, and the version is too old to count as live anyhow.
        """
        shown = {(it.arn, version) for it in listed for version, labels in it.stages.items() if labels & HELD_LABELS}
        filed = {entry.secret for entry in issued}
        recent = {(entry.secret, entry.version_id) for entry in issued if now - entry.at < self._settings.recent}
        wanted = {
            arn
            for arn, version in named
            if (arn, version) not in shown and secret_name(arn) in filed and (secret_name(arn), version) not in recent
        }
        return list(self._describe(sorted(wanted)))

    def _describe(self, arns: Iterable[str]) -> Iterable[SecretDescription]:
        for arn in arns:
            try:
                yield self._versions.describe(arn)
            except ClientError as error:
                if out_of_reach(error) is None:
                    raise
                log.info("passed over a secret that is gone or not the stack's", extra={"secret": arn})


def _versions_at(descriptions: Iterable[SecretDescription], counts: Callable[[str], bool]) -> Iterable[tuple[str, str]]:
    for description in descriptions:
        for version, labels in description.stages.items():
            if any(map(counts, labels)):
                yield description.name, version


def _issues(label: str, now: datetime) -> bool:
    """Whether a CA version with this label issues, or is about to."""
    until = end_of_issuing(label)
    return label in {AWSCURRENT, AWSPENDING} or (until is not None and now < until)


def _distrusted(listed: Iterable[Listed], objects: Mapping[str, AnchorObject]) -> tuple[DistrustEntry, ...]:
    """What the listing names: an object counts by its name, even one that cannot be read."""
    return tuple(distrust.read(it.key, objects[it.key].entries if it.key in objects else ()) for it in listed)


def _out_of_sight(seen: Observation, state: SyncState) -> frozenset[str]:
    """The deployed anchors of which it is not known that they were uploaded, nor that they are so no more."""
    return frozenset(seen.deployed).difference(seen.unused_since, _managed(state.anchor_objects))


def _managed(objects: Mapping[str, AnchorObject]) -> dict[str, x509.Certificate]:
    """Every certificate at hand. The decision asks for an anchor by its fingerprint, so nothing can stand in for it."""
    return bundles.by_fingerprint(entry for content in objects.values() for entry in content.entries)


def _holds(found: AnchorObject | None, certificate: x509.Certificate) -> bool:
    return found is not None and certificate in found.entries


def _static(objects: AnchorObjects) -> Iterable[StaticEntry]:
    for key, content in objects.known.items():
        if not key.startswith(layout.STATIC_ANCHORS):
            continue
        for position, entry in enumerate(content.entries, start=1):
            yield StaticEntry(key, entry, position)
    for key, reason in objects.passed_over.items():
        yield StaticEntry(key, reason)
