"""What there is to announce of a plan and of targets, each thing once for as long as it holds. Pure."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mtls_rotation.contract.events import (
    TRUSTSTORE_ANCHOR_DISTRUSTED,
    TRUSTSTORE_ANCHOR_EXPIRING,
    TRUSTSTORE_ANCHOR_REJECTED,
    TRUSTSTORE_DISTRUST_REFUSED,
    TRUSTSTORE_DISTRUST_WITHDRAWN,
    TRUSTSTORE_DOMAIN_STUCK,
    TRUSTSTORE_DRIFT,
    TRUSTSTORE_PUBLISH_STOPPED,
    TRUSTSTORE_PUBLISHED,
    TRUSTSTORE_WARNING,
    Event,
)
from mtls_rotation.contract.layout import STATIC_ANCHORS, distrusted_anchor_key
from mtls_rotation.pki.certificates import short_subject
from mtls_rotation.targets.api import Anchors, Edition, Evidence, ObjectVersion, Revision, Running
from mtls_rotation.timing import to_rfc3339
from mtls_rotation.truststore.distrust import Distrust
from mtls_rotation.truststore.guards import Stop
from mtls_rotation.truststore.observation import Observation
from mtls_rotation.truststore.plan import LeftOut, Plan, largest_contributors

# Days before its end at which an anchor is warned of.
WARNED_AT = (30, 14, 7, 1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Statement:
    """An event, and what tells it from others of its type: announced once as long as it is made anew in every run."""

    event: Event
    about: tuple[str, ...]

    @property
    def id(self) -> str:
        """Short and stable; begins with the event's type."""
        digest = hashlib.sha256("\0".join(self.about).encode()).hexdigest()[:16]
        return f"{self.event.detail_type}: {digest}"


def pending(
    statements: Iterable[Statement], announced: frozenset[str], looked_at: Iterable[str]
) -> tuple[list[Statement], frozenset[str]]:
    """What is still to be announced, and what of all that was still holds.

    Args:
        statements: everything that holds now.
        announced: what was announced before.
        looked_at: the event types that this run has looked at; what was announced of others stays so.
    """
    made = {statement.id: statement for statement in statements}
    others = {it for it in announced if it.partition(":")[0] not in set(looked_at)}
    new = [statement for key, statement in made.items() if key not in announced]
    return new, announced.intersection(made) | others


# For so many objects an event of their own tells what is left out of each; one more tells of the others. For so many
# of an object's certificates it says why.
_OBJECTS_TOLD = 100
_CERTIFICATES_TOLD = 10


def rejections(plan: Plan, truststore_uri: str) -> Iterable[Statement]:
    """What an operator, or a live secret, means to be trusted and is not: by objects."""
    objects: dict[str, list[LeftOut]] = defaultdict(list)
    for entry in plan.left_out:
        if entry.rejected:
            objects[entry.key].append(entry)
    keys = sorted(objects, key=lambda it: (it.startswith(STATIC_ANCHORS), it))
    for key in keys[:_OBJECTS_TOLD]:
        about = (key, *(part for it in objects[key] for part in (str(it.position), it.fingerprint, it.reason)))
        yield Statement(_rejected(truststore_uri, key, objects[key], len(objects[key])), about)
    if further := keys[_OBJECTS_TOLD:]:
        what = LeftOut(STATIC_ANCHORS, 1, "", "", f"{len(further)} further objects hold what is left out")
        count = sum(len(objects[key]) for key in further)
        yield Statement(_rejected(truststore_uri, what.key, [what], count), (what.key, what.reason))


def _rejected(truststore_uri: str, key: str, entries: Sequence[LeftOut], count: int) -> Event:
    certificates: list[dict[str, object]] = [
        {
            "position": it.position,
            "subject": it.subject,
            "fingerprint_sha256": it.fingerprint,
            "reason": it.reason,
        }
        for it in entries[:_CERTIFICATES_TOLD]
    ]
    detail = {"truststore_uri": truststore_uri, "key": key, **certificates[0]}
    return Event(TRUSTSTORE_ANCHOR_REJECTED, {**detail, "count": count, "certificates": certificates})


def distrusted(seen: Observation) -> Iterable[Statement]:
    """What operators take out, and what was meant to and does not."""
    at_hand = Distrust.among(seen).at_hand
    for entry in seen.distrusted:
        if entry.problem:
            detail: dict[str, object] = {"key": entry.key, "reason": entry.problem}
            yield Statement(Event(TRUSTSTORE_DISTRUST_REFUSED, detail), (entry.key,))
        else:
            known = entry.certificate or at_hand.get(entry.fingerprint)
            yield Statement(
                Event(
                    TRUSTSTORE_ANCHOR_DISTRUSTED,
                    {
                        "key": entry.key,
                        "fingerprint_sha256": entry.fingerprint,
                        "subject": short_subject(known) if known else "",
                    },
                ),
                (entry.key,),
            )


def withdrawn(fingerprint: str) -> Event:
    """That what was distrusted is so no more."""
    detail: dict[str, object] = {"key": distrusted_anchor_key(fingerprint), "fingerprint_sha256": fingerprint}
    return Event(TRUSTSTORE_DISTRUST_WITHDRAWN, detail)


def expiring(plan: Plan, now: datetime) -> Iterable[Statement]:
    """The anchors in use that end soon, which no target warns of. One that is on its way out is none of them."""
    for key, anchor in plan.anchors.items():
        end = anchor.certificate.not_valid_after_utc
        mark = min((days for days in WARNED_AT if end - now <= days * _DAY), default=None)
        if mark is not None and not anchor.retiring:
            detail: dict[str, object] = {
                "subject": short_subject(anchor.certificate),
                "fingerprint_sha256": key,
                "not_after": to_rfc3339(end),
                "days_left": max(0, (end - now) // _DAY),
                "why": [str(reason) for reason in anchor.reasons],
            }
            yield Statement(Event(TRUSTSTORE_ANCHOR_EXPIRING, detail), (key, str(mark)))


def stopped(stop: Stop, plan: Plan, truststore_uri: str) -> Statement:
    """That a guard kept a truststore from being published."""
    detail: dict[str, object] = {
        "truststore_uri": truststore_uri,
        "guard": stop.guard.value,
        "found": stop.found,
        "remedy": stop.remedy,
        "anchors": len(plan.anchors),
        "added": sorted(plan.added)[:_NAMED],
        "removed": sorted(plan.removed)[:_NAMED],
        "largest_contributors": largest_contributors(plan),
    }
    return Statement(Event(TRUSTSTORE_PUBLISH_STOPPED, detail), (truststore_uri, stop.guard.value, stop.found))


def drift(name: str, found: Evidence, edition: Edition) -> Statement:
    """That a target runs what the sync never told it, or that the object itself was overwritten (a target without a
    name). It is brought back.
    """
    shown = _shown(found)
    detail: dict[str, object] = {
        "domain_name": name,
        **shown,
        "truststore_uri": edition.uri,
        "version_id": edition.version_id,
    }
    return Statement(Event(TRUSTSTORE_DRIFT, detail), (name, *(str(it or "") for it in shown.values())))


def _shown(found: Evidence) -> dict[str, object]:
    match found:
        case ObjectVersion(uri, version_id):
            return {"found_uri": uri, "found_version_id": version_id}
        case Anchors(fingerprints):
            return {"found_anchors": sorted(fingerprints)[:_NAMED]}
        case Revision(token):
            return {"found_revision": token}


def warnings(name: str, running: Running) -> Statement:
    """What a target says is wrong with certificates in its truststore."""
    detail: dict[str, object] = {"domain_name": name, "warnings": list(running.warnings)}
    return Statement(Event(TRUSTSTORE_WARNING, detail), (name, *running.warnings))


def stuck(name: str, running: Running, edition: Edition) -> Statement:
    """That a target does not come to run its truststore, by its own word. It is told again and again."""
    detail: dict[str, object] = {
        "domain_name": name,
        "status": running.status,
        "message": running.message,
        "truststore_uri": edition.uri,
        "version_id": edition.version_id,
    }
    return Statement(Event(TRUSTSTORE_DOMAIN_STUCK, detail), (name, running.status, running.message))


# How many fingerprints an event names: it may have 256 KiB.
_NAMED = 100


def published(edition: Edition, before: frozenset[str]) -> Event:
    """That an edition was published; `before` are the anchors of the one that was announced before."""
    added, removed = edition.anchors - before, before - edition.anchors
    detail: dict[str, object] = {
        "truststore_uri": edition.uri,
        "version_id": edition.version_id,
        "anchors": len(edition.anchors),
        "added": sorted(added)[:_NAMED],
        "removed": sorted(removed)[:_NAMED],
        "added_count": len(added),
        "removed_count": len(removed),
    }
    return Event(TRUSTSTORE_PUBLISHED, detail)
