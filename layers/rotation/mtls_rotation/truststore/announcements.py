"""What there is to say about a plan and its targets, each thing once for as long as it holds. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from mtls_rotation.contract.events import (
    TRUSTSTORE_ANCHOR_EXPIRING,
    TRUSTSTORE_ANCHOR_REJECTED,
    TRUSTSTORE_DRIFT,
    TRUSTSTORE_PUBLISH_STOPPED,
    TRUSTSTORE_WARNING,
    Event,
)
from mtls_rotation.pki.certificates import short_subject
from mtls_rotation.targets.api import Deployed, Truststore
from mtls_rotation.timing import to_rfc3339
from mtls_rotation.truststore.guards import Stop, largest_contributors
from mtls_rotation.truststore.plan import Plan

# Days before its end at which an anchor is warned of.
WARNED_AT = (30, 14, 7, 1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Statement:
    """An event, and what tells it from others of its type: said once as long as it is made anew in every run."""

    event: Event
    about: tuple[str, ...]

    @property
    def id(self) -> str:
        """Short and stable; begins with the event's type."""
        digest = hashlib.sha256("\0".join(self.about).encode()).hexdigest()[:16]
        return f"{self.event.detail_type}: {digest}"


def to_say(
    statements: Iterable[Statement], said: frozenset[str], looked_at: Iterable[str]
) -> tuple[list[Event], frozenset[str]]:
    """The events that are news, and what has been said once they are put.

    Args:
        statements: everything that holds now.
        said: what was said before.
        looked_at: the event types that this run has looked at; what was said of others stays said.
    """
    made = {statement.id: statement.event for statement in statements}
    others = {it for it in said if it.partition(":")[0] not in set(looked_at)}
    return [event for key, event in made.items() if key not in said], frozenset(made) | others


def rejections(plan: Plan, truststore_uri: str) -> Iterable[Statement]:
    """What somebody meant to be trusted and is not."""
    for entry in plan.left_out:
        if entry.rejected:
            detail: dict[str, object] = {
                "truststore_uri": truststore_uri,
                "key": entry.key,
                "position": entry.position,
                "subject": entry.subject,
                "fingerprint_sha256": entry.fingerprint,
                "reason": entry.reason,
            }
            about = (entry.key, str(entry.position), entry.fingerprint, entry.reason)
            yield Statement(Event(TRUSTSTORE_ANCHOR_REJECTED, detail), about)


def expiring(plan: Plan, now: datetime) -> Iterable[Statement]:
    """The anchors in use that end soon, which API Gateway tells nobody. One that is on its way out is none of them."""
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
    return Statement(Event(TRUSTSTORE_PUBLISH_STOPPED, detail), (stop.guard.value, stop.found))


def drift(found: Deployed, truststore: Truststore) -> Statement:
    """That a target runs what nobody here told it to, or that the object itself was written over (a target without a
    name). It is brought back.
    """
    detail: dict[str, object] = {
        "domain_name": found.name,
        "found_uri": found.uri,
        "found_version_id": found.version_id,
        "truststore_uri": truststore.uri,
        "version_id": truststore.version_id,
    }
    return Statement(Event(TRUSTSTORE_DRIFT, detail), (found.name, found.uri, found.version_id or ""))


def warnings(shown: Deployed) -> Statement:
    """What a target says is wrong with certificates in its truststore."""
    detail: dict[str, object] = {"domain_name": shown.name, "warnings": list(shown.warnings)}
    return Statement(Event(TRUSTSTORE_WARNING, detail), (shown.name, *shown.warnings))


# How many fingerprints an event names: it may have 256 KiB.
_NAMED = 100


def published(plan: Plan, truststore: Truststore, before: frozenset[str]) -> dict[str, object]:
    """The detail of `Truststore Published`; `before` are the anchors of the one that was announced before."""
    added, removed = frozenset(plan.anchors) - before, before - frozenset(plan.anchors)
    return {
        "truststore_uri": truststore.uri,
        "version_id": truststore.version_id,
        "anchors": len(plan.anchors),
        "added": sorted(added)[:_NAMED],
        "removed": sorted(removed)[:_NAMED],
        "added_count": len(added),
        "removed_count": len(removed),
    }
