"""One reconcile: look, decide, publish, deploy. It acts only on a difference, so it may run at any time and often."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mtls_rotation.aws.certificate_index import CertificateIndex
from mtls_rotation.aws.secret_versions import SecretDescription
from mtls_rotation.contract import layout
from mtls_rotation.contract.events import (
    TRUSTSTORE_ANCHOR_EXPIRING,
    TRUSTSTORE_ANCHOR_REJECTED,
    TRUSTSTORE_DRIFT,
    TRUSTSTORE_PUBLISH_STOPPED,
    TRUSTSTORE_PUBLISHED,
    TRUSTSTORE_WARNING,
    Event,
)
from mtls_rotation.contract.labels import AWSCURRENT, AWSPENDING, HELD_LABELS, end_of_issuing, secret_name
from mtls_rotation.contract.tags import STACK_TAG
from mtls_rotation.errors import DomainBusyError, SupersededError, TruststoreGuardError, UnusableDomainError
from mtls_rotation.pki import bundles
from mtls_rotation.targets.api import Deployed, Truststore
from mtls_rotation.truststore import announcements, guards, rendering
from mtls_rotation.truststore.expiry import Expiry, measure
from mtls_rotation.truststore.plan import (
    Observation,
    Plan,
    Settings,
    StaticEntry,
    decide,
    needed,
    obsolete,
    obsolete_anchors,
    obsolete_outside,
    without_removals,
)
from mtls_rotation.truststore.rollout import Told, next_move
from mtls_rotation.truststore.state import AnchorObject, Announced, Notes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cryptography import x509

    from mtls_rotation.aws.bucket import Listed, Stored
    from mtls_rotation.aws.certificate_index import FiledCertificate
    from mtls_rotation.aws.services import Services
    from mtls_rotation.targets.api import Target
    from mtls_rotation.timing import Deadline

log = logging.getLogger(__name__)

# A bundle of three thousand certificates: more than any truststore takes.
LARGEST_BUNDLE = 4 * 1024 * 1024
# Seconds until a target is looked at again whose update took longer than the run.
SETTLING = 30
# How long after a run has noted that it updates a target it may still begin to. Others leave 30 s from the note on (a
# target's `update_interval`), and an update takes effect within 23 s of its start, by its time-outs, or never. So it
# can never undo a newer one.
_NOTED = timedelta(seconds=7)
# How often a run that another overtook begins afresh by itself.
_TRIES = 3
# How many objects one call deletes.
_DELETED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What one reconcile found and did.

    Attributes:
        version_id: the object version of the truststore that is published now; empty where there is none to publish.
        updated: the targets that were told to run it in this run.
        behind: the targets that do not run it yet, for a reason that passes.
        drifted: the targets that ran what nobody here told them to.
        retry_after: in how many seconds a further run has something to do; None if nothing is left.
        warnings: by target, what it says is wrong with the truststore.
        expiry: what each certificate, CA and anchor in use has left.
    """

    plan: Plan
    version_id: str = ""
    published: bool = False
    updated: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    drifted: tuple[str, ...] = ()
    retry_after: int | None = None
    warnings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    expiry: Expiry = field(default_factory=Expiry)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a reconcile would do now.

    Attributes:
        stop: the guard that would keep it from being published; None if none would.
        version_id: the object version of the truststore that is published now; empty where there is none.
        deployed: the anchors in that one, by fingerprint.
    """

    plan: Plan
    stop: guards.Stop | None
    version_id: str
    deployed: Mapping[str, x509.Certificate]


@dataclass(frozen=True, slots=True)
class _Looked:
    """What is there: the observation, and the objects that it was made from.

    Attributes:
        current: by name of a secret, its version at AWSCURRENT; without secrets that are marked for deletion.
        outside: the certificates that no gateway of ours is to trust.
        managed: by fingerprint of an anchor that rotation issues from, when it was written.
    """

    seen: Observation
    current: Mapping[str, str]
    outside: tuple[FiledCertificate, ...]
    managed: Mapping[str, datetime]
    published: Stored | None
    stored_notes: Stored | None
    notes: Notes


class TruststoreSync:
    """Brings the truststore and the targets that run it in line with what is live.

    Reads no secret value: which anchor a version hangs on is in the keys under `issued/`.
    """

    def __init__(
        self,
        services: Services,
        *,
        targets: Sequence[Target],
        settings: Settings,
    ) -> None:
        self._versions = services.versions
        self._bucket = services.bucket
        self._bus = services.bus
        self._stack = services.stack
        self._clock = services.clock
        self._targets = targets
        self._settings = settings

    def run(self, deadline: Deadline, named: Iterable[tuple[str, str]] = (), *, force: bool = False) -> SyncResult:
        """Reconcile once.

        Args:
            deadline: until when to wait for a target that was updated to settle.
            named: (secret ARN, version id) that events in hand name; the listing may not show them yet.
            force: publish even what a guard refuses, if it is a guard that may be forced.

        Raises:
            TruststoreGuardError: the plan is not safe; nothing was taken out of what is deployed.
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

    def preview(self, *, force: bool = False) -> Preview:
        """Look and decide as a run would, and change nothing."""
        looked = self._look(frozenset())
        plan = decide(looked.seen, self._settings)
        stop = guards.stop(rendering.render(plan.anchors), plan, looked.seen, self._settings, force=force)
        version_id = looked.published.version_id if looked.published else ""
        return Preview(plan, stop, version_id, looked.seen.deployed)

    def _reconcile(self, deadline: Deadline, named: frozenset[tuple[str, str]], *, force: bool) -> SyncResult:
        looked = self._look(named)
        plan = decide(looked.seen, self._settings)
        if not plan.anchors and looked.published is None and not self._targets:
            # A stack whose clients are all known elsewhere: there is no gateway, and nothing for one to trust.
            self._forget(looked)
            return SyncResult(plan, expiry=measure(looked.seen, plan, looked.current, looked.outside))
        body = rendering.render(plan.anchors)
        stop = guards.stop(body, plan, looked.seen, self._settings, force=force)
        held_back: guards.Stop | None = None
        said = []
        if stop and stop.guard.may_be_forced:
            # What is new need not wait until somebody has looked at what would go: a rotation may wait for it.
            held_back, said = stop, [announcements.stopped(stop, plan, self._bucket.truststore_uri)]
            plan = without_removals(plan, looked.seen)
            body = rendering.render(plan.anchors)
            stop = guards.stop(body, plan, looked.seen, self._settings)
        if stop:
            self._give_up(stop, plan, looked)
        published, notes, stored = looked.published, looked.notes, looked.stored_notes
        changed = published is None or not published.ours or bool(plan.added or plan.removed)
        if published is not None and not published.ours:
            # Noted first: nobody could tell any more once ours lies there again.
            notes = replace(notes, written_over=published.version_id)
            stored = self._remember(notes, stored)
        if published is None or changed:
            published = self._bucket.replace(layout.TRUSTSTORE, body, looked.published)
        truststore = Truststore(self._bucket.truststore_uri, published.version_id)
        replaced = frozenset(looked.seen.deployed) if changed else frozenset()
        notes = self._announce(notes, plan, truststore, replaced)
        if not held_back:
            self._forget(looked)

        notes = replace(notes, unused_since=plan.unused_since)
        notes = self._say(notes, self._about(plan), {TRUSTSTORE_ANCHOR_REJECTED, TRUSTSTORE_ANCHOR_EXPIRING})
        notes = self._say(notes, said, {TRUSTSTORE_PUBLISH_STOPPED})
        shown, unusable = self._shown()
        expiry = measure(looked.seen, plan, looked.current, looked.outside)
        result = SyncResult(plan, truststore.version_id, changed, expiry=expiry)
        result, notes, stored = self._deploy(result, truststore, shown, notes, stored)
        settled = self._await_settled(result.updated, shown, deadline)
        if any(not settled[name].settled for name in result.updated):
            result = replace(result, retry_after=result.retry_after or SETTLING)
        told_of = [it for it in settled.values() if it.warnings]
        notes = self._say(notes, map(announcements.warnings, told_of), {TRUSTSTORE_WARNING})
        self._remember(notes, stored)
        if unusable:
            raise unusable
        if held_back and result.retry_after is None:
            raise _guarded(held_back, self._bucket.truststore_uri)
        return replace(result, warnings={it.name: it.warnings for it in told_of})

    # looking ----------------------------------------------------------------------------------------------------------

    def _look(self, named: frozenset[tuple[str, str]]) -> _Looked:
        now = self._clock()
        published = self._bucket.read(layout.TRUSTSTORE)
        stored_notes = self._bucket.read(layout.SYNC_NOTES)
        notes = Notes.parse(stored_notes.body) if stored_notes else Notes()
        # Labels before certificates: a version that is listed has been filed before, or is about to be and named later.
        descriptions = list(self._versions.list_tagged(STACK_TAG, self._stack))
        issued = CertificateIndex.read(self._bucket, layout.ISSUED).entries
        descriptions += self._describe_unlisted(named, descriptions, issued, now)
        seen = Observation(
            now=now,
            live=frozenset(_versions_at(descriptions, lambda label: label in HELD_LABELS)),
            issuing=frozenset(_versions_at(descriptions, lambda label: _issues(label, now))),
            in_place=frozenset(_versions_at(descriptions, lambda label: label != AWSPENDING)),
            unclear=frozenset(it.name for it in descriptions if not it.stages),
            issued=issued,
            deployed=bundles.certificates(published.body) if published else {},
            unused_since=notes.unused_since,
        )
        listed = list(self._bucket.list(layout.ANCHORS))
        objects = self._anchor_objects(listed, notes.objects, needed(seen, self._settings))
        seen = replace(seen, managed=_managed(objects), static=tuple(_static(objects)))
        outside = CertificateIndex.read(self._bucket, layout.OUTSIDE).entries
        current = {it.name: version for it in descriptions if not it.deleted and (version := it.version_at(AWSCURRENT))}
        managed = {fingerprint: it.modified for it in listed if (fingerprint := layout.managed_anchor(it.key))}
        return _Looked(seen, current, outside, managed, published, stored_notes, replace(notes, objects=objects))

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
                if error.response["Error"]["Code"] not in {"ResourceNotFoundException", "AccessDeniedException"}:
                    raise
                log.info("passed over a secret that is gone or not the stack's", extra={"secret": arn})

    def _anchor_objects(
        self, listed: Iterable[Listed], known: Mapping[str, AnchorObject], managed: Iterable[str]
    ) -> dict[str, AnchorObject]:
        """The operators' bundles and the managed anchors that are needed. What has not changed is not read again."""
        wanted = set(map(layout.managed_anchor_key, managed))
        found = {}
        for entry in listed:
            if entry.key not in wanted and not _is_bundle(entry):
                continue
            before = known.get(entry.key)
            after = before if before and before.etag == entry.etag else self._read_anchors(entry)
            if after is not None:
                found[entry.key] = after
        return found

    def _read_anchors(self, entry: Listed) -> AnchorObject | None:
        if entry.size > LARGEST_BUNDLE:
            too_large = f"an object of {entry.size} bytes, where a bundle may have {LARGEST_BUNDLE}"
            return AnchorObject(entry.etag, (bundles.Unreadable(too_large),))
        stored = self._bucket.read(entry.key)
        return AnchorObject(stored.etag, tuple(bundles.parse(stored.body))) if stored else None

    # publishing -------------------------------------------------------------------------------------------------------

    def _give_up(self, stop: guards.Stop, plan: Plan, looked: _Looked) -> None:
        """Leave everything as it is, and say so. The overlaps of anchors on their way out go on."""
        uri = self._bucket.truststore_uri
        notes = self._say(looked.notes, self._about(plan), {TRUSTSTORE_ANCHOR_REJECTED, TRUSTSTORE_ANCHOR_EXPIRING})
        notes = self._say(notes, [announcements.stopped(stop, plan, uri)], {TRUSTSTORE_PUBLISH_STOPPED})
        self._remember(notes, looked.stored_notes)
        raise _guarded(stop, uri)

    def _announce(self, notes: Notes, plan: Plan, truststore: Truststore, replaced: frozenset[str]) -> Notes:
        """Say what is published, if that has not been said: by this run, or by one that was killed before it could."""
        events = []
        if notes.announced is None or notes.announced.version_id != truststore.version_id:
            before = notes.announced.anchors if notes.announced else replaced
            events.append(Event(TRUSTSTORE_PUBLISHED, announcements.published(plan, truststore, before)))
        if notes.written_over:
            events.append(announcements.drift(Deployed("", truststore.uri, notes.written_over), truststore).event)
        self._bus.put_all(events)
        announced = Announced(truststore.version_id, frozenset(plan.anchors))
        return replace(notes, announced=announced, written_over="")

    def _forget(self, looked: _Looked) -> None:
        """Delete what nobody can hold or need any more: the bucket, and every listing of it, would grow for ever."""
        seen, settings = looked.seen, self._settings
        keys = [it.key for it in (*obsolete(seen, settings), *obsolete_outside(looked.outside, seen, settings))]
        if anchors := obsolete_anchors(looked.managed, seen, settings):
            lists = {entry.key for entry in self._bucket.list(layout.CRLS)}
            keys += map(layout.managed_anchor_key, anchors)
            keys += (key for key in map(layout.crl_key, anchors) if key in lists)
        if keys:
            self._bucket.delete_all(keys[:_DELETED_AT_ONCE])

    # deploying --------------------------------------------------------------------------------------------------------

    def _shown(self) -> tuple[dict[str, Deployed], UnusableDomainError | None]:
        """What each target runs, and what is wrong with one that cannot be used: it holds up no other."""
        shown, unusable = {}, None
        for target in self._targets:
            try:
                deployed = target.deployed()
            except UnusableDomainError as error:
                unusable = error
                continue
            if deployed is not None:
                shown[target.name] = deployed
        return shown, unusable

    def _deploy(
        self,
        result: SyncResult,
        truststore: Truststore,
        shown: Mapping[str, Deployed],
        notes: Notes,
        stored: Stored | None,
    ) -> tuple[SyncResult, Notes, Stored | None]:
        """Tell the target whose turn it is; the rest is for a later run."""
        behind = tuple(name for name, it in shown.items() if not it.runs(truststore))
        if not behind:
            return result, self._say(notes, (), {TRUSTSTORE_DRIFT}), stored
        interval = max(target.update_interval for target in self._targets)
        now = self._clock()
        move = next_move(shown.values(), truststore, notes.told, interval, now)
        notes = self._say(notes, (announcements.drift(it, truststore) for it in move.drifted), {TRUSTSTORE_DRIFT})
        result = replace(
            result, behind=behind, retry_after=move.retry_after, drifted=tuple(it.name for it in move.drifted)
        )
        if move.update is None:
            return result, notes, stored
        target = next(it for it in self._targets if it.name == move.update.name)
        # Between the publish and here another run may have published and deployed a newer one: it must not be undone.
        if (newest := self._bucket.newest(layout.TRUSTSTORE)) != truststore.version_id:
            raise SupersededError(
                where=truststore.uri,
                found=f"the version {newest}",
                expected=f"the version {truststore.version_id}, which this run has just published",
                remedy="Nothing to do: it is looked at afresh and tried again.",
            )
        # Noted first: a run that comes right after one that was killed here must not use up the rate, nor take for
        # drift what this one did.
        told = Told(truststore.version_id, now)
        stored = self._remember(replace(notes, told={**notes.told, target.name: replace(told, sure=False)}), stored)
        if (gone := self._clock() - now) > _NOTED:
            raise SupersededError(
                where=truststore.uri,
                found=f"{gone.total_seconds():.0f} s gone since it was noted that {target.name} is updated",
                expected=f"{_NOTED.total_seconds():.0f} s at most: another run may have updated it since",
                remedy="Nothing to do: it is looked at afresh and tried again.",
            )
        try:
            target.deploy(move.update, truststore)
        except DomainBusyError as busy:
            return replace(result, retry_after=busy.retry_after), notes, stored
        # Its time counts from when API Gateway has taken it.
        told = replace(told, at=self._clock())
        notes = replace(notes, told={**notes.told, target.name: told})
        left = tuple(name for name in behind if name != target.name)
        return replace(result, behind=left, updated=(target.name,)), notes, stored

    def _await_settled(
        self, updated: Iterable[str], shown: Mapping[str, Deployed], deadline: Deadline
    ) -> dict[str, Deployed]:
        """What each target shows in the end: those that were updated once they have settled, or at the deadline."""
        settled = dict(shown)
        for target in (it for it in self._targets if it.name in set(updated)):
            for _ in deadline.attempts():
                deployed = target.deployed()
                if deployed is None or deployed.settled:
                    break
            if deployed is not None:
                settled[target.name] = deployed
        return settled

    # remembering ------------------------------------------------------------------------------------------------------

    def _about(self, plan: Plan) -> list[announcements.Statement]:
        now = self._clock()
        return [*announcements.rejections(plan, self._bucket.truststore_uri), *announcements.expiring(plan, now)]

    def _say(self, notes: Notes, statements: Iterable[announcements.Statement], looked_at: set[str]) -> Notes:
        """Put what is new on the bus. It is noted after, so that it is said twice rather than never."""
        events, said = announcements.to_say(statements, notes.said, looked_at)
        self._bus.put_all(events)
        return replace(notes, said=said)

    def _remember(self, notes: Notes, stored: Stored | None) -> Stored | None:
        body = notes.render()
        if stored.body == body if stored else notes == Notes():
            return stored
        return self._bucket.replace(layout.SYNC_NOTES, body, stored)


def _guarded(stop: guards.Stop, uri: str) -> TruststoreGuardError:
    return TruststoreGuardError(
        where=uri,
        found=stop.found,
        expected="a truststore in which every client that is accepted now stays accepted",
        remedy=stop.remedy,
    )


def _versions_at(descriptions: Iterable[SecretDescription], counts: Callable[[str], bool]) -> Iterable[tuple[str, str]]:
    for description in descriptions:
        for version, labels in description.stages.items():
            if any(map(counts, labels)):
                yield description.name, version


def _issues(label: str, now: datetime) -> bool:
    """Whether a CA version with this label issues, or is about to."""
    until = end_of_issuing(label)
    return label in {AWSCURRENT, AWSPENDING} or (until is not None and now < until)


def _is_bundle(entry: Listed) -> bool:
    """Whether an operator meant this object to be read: the console makes empty ones for folders."""
    return entry.key.startswith(layout.STATIC_ANCHORS) and not entry.key.endswith("/")


def _managed(objects: Mapping[str, AnchorObject]) -> dict[str, x509.Certificate]:
    """Every certificate at hand. The decision asks for an anchor by its fingerprint, so nothing can stand in for it."""
    return bundles.by_fingerprint(entry for content in objects.values() for entry in content.entries)


def _static(objects: Mapping[str, AnchorObject]) -> Iterable[StaticEntry]:
    for key, content in objects.items():
        if not key.startswith(layout.STATIC_ANCHORS):
            continue
        for position, entry in enumerate(content.entries, start=1):
            yield StaticEntry(key, entry, position)
