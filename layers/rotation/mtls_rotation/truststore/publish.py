"""Publishing an edition: `choose` decides what of a plan may be, and calls nothing; `Publisher` does it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtls_rotation.aws.bucket import NO_VERSION
from mtls_rotation.contract import layout
from mtls_rotation.errors import VersioningSuspendedError
from mtls_rotation.pki.certificates import to_pem
from mtls_rotation.targets.api import Edition, ObjectVersion
from mtls_rotation.truststore import announcements, guards, rendering
from mtls_rotation.truststore.plan import Plan, decide, without_removals, without_the_distrusted
from mtls_rotation.truststore.state import AnnouncedEdition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cryptography import x509

    from mtls_rotation.aws.services import Services
    from mtls_rotation.targets.api import Limits
    from mtls_rotation.truststore.observation import Observation
    from mtls_rotation.truststore.observe import Snapshot
    from mtls_rotation.truststore.plan import Settings
    from mtls_rotation.truststore.state import StateFile

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Publish:
    """No guard objects to the plan.

    Attributes:
        body: its rendering.
    """

    limits: Limits
    plan: Plan
    body: bytes


@dataclass(frozen=True, slots=True)
class PublishInPart:
    """A guard objects to the plan, and to a part of it none does.

    Attributes:
        plan: the part: what is new, or what is distrusted taken out; `body` is its rendering.
        refused: the plan that the guard objects to.
    """

    limits: Limits
    plan: Plan
    body: bytes
    stop: guards.Stop
    refused: Plan


@dataclass(frozen=True, slots=True)
class Stopped:
    """A guard objects to the plan."""

    limits: Limits
    plan: Plan
    stop: guards.Stop

    @property
    def refused(self) -> Plan:
        """The plan that the guard objects to."""
        return self.plan


type Release = Publish | PublishInPart | Stopped


@dataclass(frozen=True, slots=True)
class Published:
    """An edition that is published.

    Attributes:
        changed: whether it was published just now.
    """

    edition: Edition
    limits: Limits
    plan: Plan
    changed: bool


def choose(seen: Observation, settings: Settings, limits: Limits, *, force: bool = False) -> Release:
    """Decide what to publish for these limits. Pure.

    Args:
        seen: what there is; `deployed` is of this edition.
        settings: what an operator chose.
        limits: what its targets take.
        force: let through what a guard refuses, if it is a guard that may be forced.
    """
    plan = decide(seen, settings, limits)
    body = rendering.render(plan.anchors)
    stop = guards.stop(body, plan, seen, settings, limits, force=force)
    if stop is None:
        return Publish(limits, plan, body)
    stopped = Stopped(limits, plan, stop)
    if stop.guard.may_be_forced:
        # What is new need not wait until an operator has looked at what would go: a rotation may wait for it.
        part = without_removals(plan, seen, limits)
        body = rendering.render(part.anchors)
        further = guards.stop(body, part, seen, settings, limits)
        if further is None:
            return PublishInPart(limits, part, body, stop, refused=plan)
        stopped = Stopped(limits, part, further)
    # What is distrusted goes, whatever is wrong with the rest.
    if less := without_the_distrusted(plan, seen, limits):
        body = rendering.render(less.anchors)
        if guards.stop(body, less, seen, settings, limits) is None:
            return PublishInPart(limits, less, body, stopped.stop, refused=plan)
    return stopped


class Publisher:
    """Brings the editions in the bucket in line with the plans."""

    def __init__(self, services: Services) -> None:
        self._bucket = services.bucket
        self._bus = services.bus

    def restore(self, lost: Mapping[str, x509.Certificate], releases: Iterable[Release]) -> None:
        """File anew the CAs that certificates chain to and that are deployed yet, by fingerprint."""
        stay = {key for it in releases for key in it.plan.anchors}
        for fingerprint, certificate in lost.items():
            if fingerprint not in stay:
                continue
            log.warning("a CA that certificates chain to was lost, and is filed anew", extra={"anchor": fingerprint})
            key = layout.managed_anchor_key(fingerprint)
            self._bucket.put(key, to_pem(certificate).encode(), content_type="application/x-pem-file")

    def publish(self, release: Publish | PublishInPart, snapshot: Snapshot, state: StateFile) -> Published:
        """Write the edition if it is another than the one that is published, and say so: beside it and on the bus.

        Raises:
            SupersededError: another run published in the meantime.
            VersioningSuspendedError: what would be published would have no version, which a domain is told.
        """
        key, plan = release.limits.key, release.plan
        before = snapshot.published.get(key)
        changed = before is None or not before.ours or before.body != release.body or before.version_id == NO_VERSION
        if changed and not self._bucket.keeps_versions:
            raise VersioningSuspendedError(where=self._bucket.uri(key), found="a bucket whose versioning is suspended")
        if before is not None and not before.ours:
            # Noted first: no run could tell any more once ours lies there again.
            state.change(overwritten_versions={**state.state.overwritten_versions, key: before.version_id})
            state.save()
        if before is None or changed:
            before = self._bucket.replace(key, release.body, before)
            if before.version_id == NO_VERSION:
                raise VersioningSuspendedError(where=self._bucket.uri(key), found="a write that made no version")
        edition = Edition(key, self._bucket.uri(key), before.version_id, before.body, frozenset(plan.anchors))
        replaced = frozenset(snapshot.of(key).deployed) if changed else frozenset()
        self._announce(edition, replaced, plan, state)
        return Published(edition, release.limits, plan, changed)

    def _announce(self, edition: Edition, replaced: frozenset[str], plan: Plan, state: StateFile) -> None:
        """Say what is published, if that has not been said: by this run, or by one that was killed before it could.

        The text is written once the edition is there, so that it never explains what nobody published. Until then the
        text before it is there, which says what it is about.
        """
        events = []
        last = state.state.editions.get(edition.key)
        if last is None or last.version_id != edition.version_id:
            text = rendering.explain(edition, plan.anchors)
            self._bucket.put(layout.explanation_key(edition.key), text, content_type="text/plain")
            events.append(announcements.published(edition, last.anchors if last else replaced))
        overwritten = dict(state.state.overwritten_versions)
        if version_id := overwritten.pop(edition.key, ""):
            events.append(announcements.drift("", ObjectVersion(edition.uri, version_id), edition).event)
        self._bus.put_all(events)
        announced = AnnouncedEdition(edition.version_id, edition.anchors)
        state.change(editions={**state.state.editions, edition.key: announced}, overwritten_versions=overwritten)
