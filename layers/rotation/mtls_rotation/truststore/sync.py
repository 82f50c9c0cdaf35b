"""One reconcile: look, decide, publish, deploy. It acts only on a difference, so it may run at any time and often."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import batched
from typing import TYPE_CHECKING

from mtls_rotation.contract import layout
from mtls_rotation.contract.events import (
    TRUSTSTORE_ANCHOR_DISTRUSTED,
    TRUSTSTORE_ANCHOR_EXPIRING,
    TRUSTSTORE_ANCHOR_REJECTED,
    TRUSTSTORE_DISTRUST_REFUSED,
    TRUSTSTORE_DOMAIN_STUCK,
    TRUSTSTORE_DRIFT,
    TRUSTSTORE_PUBLISH_STOPPED,
    TRUSTSTORE_WARNING,
)
from mtls_rotation.errors import SupersededError, TruststoreGuardError
from mtls_rotation.pki import bundles
from mtls_rotation.targets.api import Edition
from mtls_rotation.truststore import announcements, guards, rendering
from mtls_rotation.truststore.anchor_objects import Bounds
from mtls_rotation.truststore.deploy import Deployer
from mtls_rotation.truststore.distrust import Distrust
from mtls_rotation.truststore.expiry import Expiry, measure
from mtls_rotation.truststore.observe import Observer
from mtls_rotation.truststore.plan import Plan, decide
from mtls_rotation.truststore.publish import Publish, Publisher, Stopped, choose
from mtls_rotation.truststore.retention import obsolete, obsolete_anchors, obsolete_outside
from mtls_rotation.truststore.rollout import TELL_AGAIN, next_update
from mtls_rotation.truststore.state import StateFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from cryptography import x509

    from mtls_rotation.aws.services import Services
    from mtls_rotation.targets.api import Lane, Running
    from mtls_rotation.targets.registry import TruststoreTargets
    from mtls_rotation.timing import Deadline
    from mtls_rotation.truststore.announcements import Statement
    from mtls_rotation.truststore.deploy import Look
    from mtls_rotation.truststore.observation import DistrustEntry, Observation
    from mtls_rotation.truststore.observe import Snapshot
    from mtls_rotation.truststore.plan import Settings
    from mtls_rotation.truststore.publish import Release
    from mtls_rotation.truststore.rollout import RolloutDecision, Standing

log = logging.getLogger(__name__)

# Seconds until a target is looked at again whose update took longer than the run.
SETTLING = 30
# How much of what operators upload is looked at.
_BOUNDS = Bounds()
# Seconds until the rest of what operators have uploaded is read.
READ_ON = 2
# After so many events it is noted that they were put.
_PUT_AT_ONCE = 100
# How often a run that another overtook begins afresh by itself.
_TRIES = 3
# How many objects one call deletes.
_DELETED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What one reconcile found and did.

    Attributes:
        plans: of each edition, API Gateway's first.
        version_id: the object version of API Gateway's edition that is published now; empty where there is none.
        published: whether any edition was published in this run.
        updated: the targets that were told to run theirs in this run.
        behind: the targets that do not run it yet, for a reason that passes.
        drifted: the targets that ran what the sync never told them.
        stuck: by target that does not come to run the truststore by itself, what it says.
        retry_after: in how many seconds a further run has something to do; None if nothing is left.
        warnings: by target, what it says is wrong with the truststore.
        expiry: what each certificate, CA and anchor in use has left.
    """

    plans: tuple[Plan, ...]
    version_id: str = ""
    published: bool = False
    updated: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    drifted: tuple[str, ...] = ()
    stuck: Mapping[str, str] = field(default_factory=dict)
    retry_after: int | None = None
    warnings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    expiry: Expiry = field(default_factory=Expiry)

    @property
    def plan(self) -> Plan:
        """API Gateway's."""
        return self.plans[0]


@dataclass(frozen=True, slots=True)
class Preview:
    """What a reconcile would do now with API Gateway's edition.

    Attributes:
        stop: the guard that would keep it from being published; None if none would.
        seen: what it was decided from.
        deployed: the anchors of the truststore that is published now, by fingerprint.
        editions: by key, each edition that is published now.
        held_in: the fingerprints of what is distrusted and stays in all the same, as `stop` stops even that.
    """

    plan: Plan
    stop: guards.Stop | None
    seen: Observation
    deployed: Mapping[str, x509.Certificate]
    editions: Mapping[str, Edition]
    held_in: frozenset[str] = frozenset()

    @property
    def version_id(self) -> str:
        """The object version of the truststore that is published now; empty where there is none."""
        edition = self.editions.get(layout.TRUSTSTORE)
        return edition.version_id if edition else ""


class TruststoreSync:
    """Brings the editions of the truststore, and the targets that run them, in line with what is live."""

    def __init__(
        self, services: Services, *, targets: TruststoreTargets, settings: Settings, bounds: Bounds = _BOUNDS
    ) -> None:
        self._bucket = services.bucket
        self._bus = services.bus
        self._clock = services.clock
        self._targets = targets
        self._settings = settings
        self._observer = Observer(services, settings, bounds)
        self._publisher = Publisher(services)
        self._deployer = Deployer(services.bucket, targets)

    def run(self, deadline: Deadline, named: Iterable[tuple[str, str]] = (), *, force: bool = False) -> SyncResult:
        """Reconcile once.

        Args:
            deadline: until when to wait for a target that was updated to settle.
            named: (secret ARN, version id) that events in hand name; the listing may not show them yet.
            force: publish even what a guard refuses, if it is a guard that may be forced.

        Raises:
            TruststoreGuardError: a plan is not safe; nothing was taken out of what is deployed.
            UnusableDomainError: a target checks no client certificates; the others were seen to.
            SupersededError: other reconciles kept publishing at the same time.
        """
        named = frozenset(named)
        for _ in range(_TRIES):
            try:
                return self._reconcile(deadline, named, force=force)
            except SupersededError as error:
                log.info("begun afresh", extra={"reason": str(error)})
                overtaken = error
        raise overtaken

    def preview(
        self, *, force: bool = False, distrusting: Iterable[DistrustEntry] = (), trusting: Iterable[str] = ()
    ) -> Preview:
        """Look and decide as a run would, and change nothing.

        Args:
            force: let through what a guard refuses, if it is a guard that may be forced.
            distrusting: what is taken for distrusted as well.
            trusting: keys of objects that are taken for deleted, so that what they distrust is so no more.
        """
        limits = self._targets.limits[0]
        snapshot, _, _ = self._observe(frozenset(), closely=True)
        seen = snapshot.of(limits.key)
        left = [it for it in seen.distrusted if it.key not in set(trusting)]
        seen = replace(seen, distrusted=(*left, *distrusting))
        plan = decide(seen, self._settings, limits)
        stop = guards.stop(rendering.render(plan.anchors), plan, seen, self._settings, limits, force=force)
        editions = {
            key: Edition(key, self._bucket.uri(key), it.version_id, it.body, bundles.fingerprints(it.body))
            for key, it in snapshot.published.items()
        }
        held_in = frozenset(Distrust.among(seen).among_these(seen.deployed))
        if held_in and not isinstance(choose(seen, self._settings, limits, force=force), Stopped):
            held_in = frozenset()
        return Preview(plan, stop, seen, seen.deployed, editions, held_in)

    def _reconcile(self, deadline: Deadline, named: frozenset[tuple[str, str]], *, force: bool) -> SyncResult:
        snapshot, state, look = self._observe(named)
        if snapshot.unfinished:
            state.save()  # of what was read, nothing is read again, however this run ends
        choices = self._choose(snapshot, force=force)
        if any(_takes_out(it, snapshot.of(it.limits.key)) for it in choices):
            # Seldom enough to look at every secret of the account first.
            snapshot, state, look = self._observe(named, closely=True)
            choices = self._choose(snapshot, force=force)
        plans = tuple(it.plan for it in choices)
        result = SyncResult(plans, expiry=_expiry(snapshot, plans))
        releases = [it for it in choices if not self._is_idle(it, snapshot)]
        if not releases:
            # A stack whose clients are all known elsewhere: there is no gateway, and nothing for one to trust.
            self._forget(snapshot)
            state.save()
            return replace(result, retry_after=READ_ON if snapshot.unfinished else None)

        self._publisher.restore(snapshot.lost, releases)
        published = [self._publisher.publish(it, snapshot, state) for it in releases if not isinstance(it, Stopped)]
        if all(isinstance(it, Publish) for it in releases):
            self._forget(snapshot)
        overlaps = {key: since for it in published for key, since in it.plan.unused_since.items()}
        # Where a guard has stopped an edition, what leaves it goes on with its overlap.
        stopped = len(published) < len(releases)
        state.change(unused_since={**state.state.unused_since, **overlaps} if stopped else overlaps)
        versions = {key: it.version_id for key, it in snapshot.published.items()}
        versions |= {it.edition.key: it.edition.version_id for it in published}
        result = replace(
            result,
            version_id=versions.get(self._targets.limits[0].key, ""),
            published=any(it.changed for it in published),
        )

        running = {name: it for those in look.running.values() for name, it in those.items()}
        standings = self._deployer.standings(published, running, state)
        # Of targets whose edition is stopped nothing was looked at: what was announced of them still holds.
        result = self._deploy(result, standings, state, looked_at=set() if stopped else {TRUSTSTORE_DRIFT})
        # Whatever there is to tell, it is deployed first.
        self._announce_distrust(snapshot.seen, state)
        self._announce_plans(releases, state)
        shown = {it.name: it.running for it in standings} | self._deployer.await_settled(result.updated, deadline)
        # An update that lasts is looked at until it is over: it may fail yet. One that has failed is tried again.
        waits = [SETTLING for it in shown.values() if it.updating]
        stuck = {it.name: found for it in standings if (found := _stuck(it.running, shown[it.name]))}
        waits += [math.ceil(TELL_AGAIN.total_seconds()) for _ in stuck]
        if snapshot.unfinished:
            waits.append(READ_ON)
        if waits and result.retry_after is None:
            result = replace(result, retry_after=min(waits))
        editions = {it.name: it.edition for it in standings}
        tellings = (announcements.stuck(name, it, editions[name]) for name, it in stuck.items())
        # While one is updating it is not known how that ends: what was announced of it still holds.
        self._announce(tellings, set() if stopped or SETTLING in waits else {TRUSTSTORE_DOMAIN_STUCK}, state)
        warned = {name: it for name, it in shown.items() if it.warnings}
        warnings = (announcements.warnings(name, it) for name, it in warned.items())
        self._announce(warnings, set() if stopped else {TRUSTSTORE_WARNING}, state)
        state.save()
        if look.unusable:
            raise look.unusable
        going_on = any(it.behind and not it.running.stuck and it.name not in result.updated for it in standings)
        if not going_on and (stop := next(filter(None, map(self._error, releases)), None)):
            raise stop
        return replace(
            result,
            warnings={name: it.warnings for name, it in warned.items()},
            stuck={name: it.condition for name, it in stuck.items()},
        )

    def _choose(self, snapshot: Snapshot, *, force: bool) -> list[Release]:
        return [choose(snapshot.of(it.key), self._settings, it, force=force) for it in self._targets.limits]

    def _observe(self, named: frozenset[tuple[str, str]], *, closely: bool = False) -> tuple[Snapshot, StateFile, Look]:
        """What is there, what is remembered, and what targets run."""
        published = self._observer.published(self._targets.limits)
        state = StateFile.open(self._bucket, self._clock)
        look = self._deployer.look()
        capacity = max(it.capacity for it in self._targets.limits)
        snapshot = self._observer.observe(published, look.running, state.state, named, capacity, closely=closely)
        state.change(anchor_objects=snapshot.anchor_objects, gone=snapshot.gone)
        return snapshot, state, look

    def _is_idle(self, release: Release, snapshot: Snapshot) -> bool:
        """Whether there is nothing to publish: no anchor, nothing published yet, and no target that would run it."""
        limits = release.limits
        wanted = limits.key in snapshot.published or any(it.limits == limits for it in self._targets)
        return not release.plan.anchors and not wanted

    def _forget(self, snapshot: Snapshot) -> None:
        """Delete what no client can hold or need any more."""
        seen, settings = snapshot.seen, self._settings
        outside = (*snapshot.outside, *snapshot.empty)
        keys = [it.key for it in (*obsolete(seen, settings), *obsolete_outside(outside, seen, settings))]
        if anchors := obsolete_anchors(snapshot.managed, seen, settings):
            lists = {entry.key for entry in self._bucket.list(layout.CRLS)}
            keys += map(layout.managed_anchor_key, anchors)
            keys += (key for key in map(layout.crl_key, anchors) if key in lists)
        if keys:
            self._bucket.delete_all(keys[:_DELETED_AT_ONCE])

    def _deploy(
        self, result: SyncResult, standings: Sequence[Standing], state: StateFile, looked_at: AbstractSet[str]
    ) -> SyncResult:
        """In each lane, tell the target whose turn it is."""
        decisions = self._decisions(standings, state)
        drifted = [it for it in standings if it.drifted]
        drifts = [announcements.drift(it.name, it.running.evidence, it.edition) for it in drifted]
        self._announce(drifts, looked_at, state)
        deployment = self._deployer.deploy(decisions, state)
        return replace(
            result,
            updated=deployment.updated,
            behind=tuple(it.name for it in standings if it.behind and it.name not in deployment.updated),
            drifted=tuple(it.name for it in drifted),
            retry_after=deployment.retry_after,
        )

    def _decisions(self, standings: Iterable[Standing], state: StateFile) -> list[RolloutDecision]:
        """By lane: one that is slow brakes no other."""
        now = self._clock()
        lanes: dict[Lane, list[Standing]] = defaultdict(list)
        for standing in standings:
            lanes[standing.lane].append(standing)
        return [
            next_update(those, state.state.receipts, lane, now, state.state.reserved.get(lane.key, now))
            for lane, those in lanes.items()
        ]

    # announcing -------------------------------------------------------------------------------------------------------

    def _announce_plans(self, releases: Iterable[Release], state: StateFile) -> None:
        """What is wrong with anchors, and which guard stops what."""
        releases, now = list(releases), self._clock()
        about = [
            statement
            for it in releases
            for statement in (
                *announcements.rejections(it.plan, self._bucket.uri(it.limits.key)),
                *announcements.expiring(it.plan, now),
            )
        ]
        self._announce(about, {TRUSTSTORE_ANCHOR_REJECTED, TRUSTSTORE_ANCHOR_EXPIRING}, state)
        stops = [
            announcements.stopped(it.stop, it.refused, self._bucket.uri(it.limits.key))
            for it in releases
            if not isinstance(it, Publish)
        ]
        self._announce(stops, {TRUSTSTORE_PUBLISH_STOPPED}, state)

    def _announce_distrust(self, seen: Observation, state: StateFile) -> None:
        """What operators take out, and what they have let in again."""
        now = {it.fingerprint for it in seen.distrusted if it.fingerprint}
        withdrawn = sorted(state.state.distrusted - now)
        self._bus.put_all(map(announcements.withdrawn, withdrawn[:_PUT_AT_ONCE]))
        state.change(distrusted=frozenset(now.union(withdrawn[_PUT_AT_ONCE:])))
        self._announce(
            announcements.distrusted(seen), {TRUSTSTORE_ANCHOR_DISTRUSTED, TRUSTSTORE_DISTRUST_REFUSED}, state
        )

    def _announce(self, statements: Iterable[Statement], looked_at: AbstractSet[str], state: StateFile) -> None:
        """Put what is new on the bus. It is noted after, so that it is announced twice rather than never.

        Of much it is noted as it goes, so that a run that is ended in the middle leaves the next one less.
        """
        new, announced = announcements.pending(statements, state.state.announced, looked_at)
        state.change(announced=announced)
        for number, some in enumerate(batched(new, _PUT_AT_ONCE, strict=False)):
            if number:
                state.save()
            self._bus.put_all(it.event for it in some)
            announced |= {it.id for it in some}
            state.change(announced=announced)

    def _error(self, release: Release) -> TruststoreGuardError | None:
        """What says that a guard stopped this one; None if none did."""
        if isinstance(release, Publish):
            return None
        return TruststoreGuardError(
            where=self._bucket.uri(release.limits.key),
            found=release.stop.found,
            expected="a truststore in which every client that is accepted now stays accepted",
            remedy=release.stop.remedy,
        )


def _stuck(before: Running, after: Running) -> Running | None:
    """What shows that a target is stuck: now, or before it was told again, if that has not ended yet; else None."""
    if after.stuck:
        return after
    return before if before.stuck and not after.settled else None


def _takes_out(release: Release, seen: Observation) -> bool:
    """Whether something goes that targets would take yet. What has expired lets nobody in."""
    limits = release.limits
    return any(limits.refusal(seen.deployed[key], seen.now) is None for key in release.plan.removed)


def _expiry(snapshot: Snapshot, plans: Iterable[Plan]) -> Expiry:
    anchors = {key: anchor for plan in plans for key, anchor in plan.anchors.items()}
    return measure(snapshot.seen, anchors, snapshot.current, snapshot.outside)
