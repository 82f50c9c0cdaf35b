"""What the sync remembers from one run to the next: in one object, which `StateFile` opens and saves.

Nothing in it is the only copy of anything: without it, every anchor on its way out begins its overlap afresh, bundles
are read again, and what was announced is announced once more.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mtls_rotation.contract import layout
from mtls_rotation.errors import DomainBusyError, SupersededError
from mtls_rotation.pki import bundles
from mtls_rotation.targets.api import Receipt, Revision
from mtls_rotation.timing import from_rfc3339, to_rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from cryptography import x509

    from mtls_rotation.aws.bucket import CertificateBucket, Stored
    from mtls_rotation.targets.api import Edition, Target


@dataclass(frozen=True, slots=True)
class AnchorObject:
    """An object under `anchors/` as it was read at an ETag: while it has that, it need not be read again."""

    etag: str
    entries: tuple[x509.Certificate | bundles.Unreadable, ...]


@dataclass(frozen=True, slots=True)
class AnnouncedEdition:
    """A published version that was announced, and the fingerprints of the anchors in it."""

    version_id: str
    anchors: frozenset[str]


@dataclass(frozen=True, slots=True)
class SyncState:
    """What is remembered.

    Attributes:
        unused_since: for each anchor on its way out, since when it has been unused.
        announced: the statements that were announced and still hold.
        receipts: by target, the edition that it was told to run last.
        anchor_objects: by key, the objects under `anchors/`.
        editions: by key, the version that was announced last.
        overwritten_versions: by key, the version that another than the sync wrote, until that has been announced.
        reserved: by lane, until when its next update is left to CloudFormation.
        left_at: by lane, when an update was left to CloudFormation last.
        distrusted: the fingerprints of what operators took out, as it was announced.
        gone: the secrets that the index knows and Secrets Manager does not have, so that they are not asked for again.
    """

    unused_since: Mapping[str, datetime] = field(default_factory=dict)
    announced: frozenset[str] = frozenset()
    receipts: Mapping[str, Receipt] = field(default_factory=dict)
    anchor_objects: Mapping[str, AnchorObject] = field(default_factory=dict)
    editions: Mapping[str, AnnouncedEdition] = field(default_factory=dict)
    overwritten_versions: Mapping[str, str] = field(default_factory=dict)
    reserved: Mapping[str, datetime] = field(default_factory=dict)
    left_at: Mapping[str, datetime] = field(default_factory=dict)
    distrusted: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()

    def render(self) -> bytes:
        """The object's content."""
        document = {
            "unused_since": {key: to_rfc3339(moment) for key, moment in sorted(self.unused_since.items())},
            "announced": sorted(self.announced),
            "receipts": {name: _receipt_document(it) for name, it in sorted(self.receipts.items())},
            "anchor_objects": {
                key: {"etag": it.etag, "entries": list(bundles.blocks(it.entries))}
                for key, it in sorted(self.anchor_objects.items())
            },
            "editions": {
                key: {"version_id": it.version_id, "anchors": sorted(it.anchors)}
                for key, it in sorted(self.editions.items())
            },
            "overwritten_versions": dict(sorted(self.overwritten_versions.items())),
            "reserved": {lane: to_rfc3339(until) for lane, until in sorted(self.reserved.items())},
            "left_at": {lane: to_rfc3339(moment) for lane, moment in sorted(self.left_at.items())},
            "gone": sorted(self.gone),
            "distrusted": sorted(self.distrusted),
        }
        return json.dumps(document, indent=1).encode()

    @classmethod
    def parse(cls, body: bytes) -> SyncState:
        """Read the object's content; what was broken by hand counts as nothing."""
        try:
            document = json.loads(body)
            json.dumps(document, ensure_ascii=False).encode()  # half a character, which JSON may hold, is no string
            return cls(
                unused_since={key: from_rfc3339(it) for key, it in document["unused_since"].items()},
                announced=frozenset(map(_string, document["announced"])),
                receipts={name: _receipt(it) for name, it in document["receipts"].items()},
                anchor_objects={
                    key: AnchorObject(_string(it["etag"]), tuple(bundles.from_blocks(it["entries"])))
                    for key, it in document["anchor_objects"].items()
                },
                editions={
                    key: AnnouncedEdition(_string(it["version_id"]), frozenset(map(_string, it["anchors"])))
                    for key, it in document["editions"].items()
                },
                overwritten_versions={key: _string(it) for key, it in document["overwritten_versions"].items()},
                reserved={lane: from_rfc3339(it) for lane, it in document["reserved"].items()},
                left_at={lane: from_rfc3339(it) for lane, it in document["left_at"].items()},
                gone=frozenset(map(_string, document["gone"])),
                distrusted=frozenset(map(_string, document["distrusted"])),
            )
        except (ValueError, AttributeError, TypeError, KeyError, IndexError, RecursionError):
            return cls()


def _receipt_document(receipt: Receipt) -> dict[str, Any]:
    return {
        "uri": receipt.uri,
        "version_id": receipt.version_id,
        "digest": receipt.digest,
        "lane": receipt.lane,
        "at": receipt.at.isoformat(),
        "revision": receipt.revision,
        "confirmed": receipt.confirmed,
    }


def _receipt(document: Mapping[str, Any]) -> Receipt:
    return Receipt(
        uri=_string(document["uri"]),
        version_id=_string(document["version_id"]),
        digest=_string(document["digest"]),
        lane=_string(document["lane"]),
        at=from_rfc3339(document["at"]),
        revision=_string(document["revision"]),
        confirmed=document["confirmed"] is True,
    )


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


class Permit:
    """Leave to update a target, as long as the note that it is updated keeps other runs from doing so.

    They leave the lane's interval from the note on, and an update takes effect within `Lane.effect_within` of its
    start, or never. So an update that begins while the permit is fresh can never undo a newer one.

    Attributes:
        revision: what the target answered, to be filled in.
    """

    def __init__(self, target: Target, edition: Edition, noted_at: datetime, clock: Callable[[], datetime]) -> None:
        self._target = target
        self._edition = edition
        self._noted_at = noted_at
        self._clock = clock
        self.revision: Revision | None = None

    def require_fresh(self) -> None:
        """Ask just before the update.

        Raises:
            SupersededError: another run may have updated the target since.
        """
        most = self._target.lane.interval - self._target.lane.effect_within
        if (gone := self._clock() - self._noted_at) > most:
            raise SupersededError(
                where=self._edition.uri,
                found=f"{gone.total_seconds():.0f} s gone since it was noted that {self._target.name} is updated",
                expected=f"{most.total_seconds():.0f} s at most: another run may have updated it since",
                remedy="Nothing to do: it is looked at afresh and tried again.",
            )


class StateFile:
    """The state as this run has it, and the object that it was read from.

    Attributes:
        state: what is remembered once it is saved.
    """

    def __init__(self, bucket: CertificateBucket, clock: Callable[[], datetime], stored: Stored | None) -> None:
        self._bucket = bucket
        self._clock = clock
        self._stored = stored
        self.state = SyncState.parse(stored.body) if stored else SyncState()

    @classmethod
    def open(cls, bucket: CertificateBucket, clock: Callable[[], datetime]) -> StateFile:
        """Read the object."""
        return cls(bucket, clock, bucket.read(layout.SYNC_NOTES))

    def change(self, **members: Any) -> None:
        """Change members of the state. `save` writes them."""
        self.state = replace(self.state, **members)

    def save(self) -> None:
        """Write the object, if it changed.

        Raises:
            SupersededError: another run wrote it since it was read.
        """
        body = self.state.render()
        unchanged = self._stored.body == body if self._stored else self.state == SyncState()
        if not unchanged:
            self._stored = self._bucket.replace(layout.SYNC_NOTES, body, self._stored)

    @contextmanager
    def update_noted(self, target: Target, edition: Edition) -> Iterator[Permit]:
        """Have it noted that a target is updated, before it is and until it is known how that went.

        Noted first: a run that comes right after one that was killed here must not use up the rate, nor take for drift
        what this one did.

        Raises:
            SupersededError: another run wrote the state since it was read.
        """
        before, now = self.state, self._clock()
        noted = Receipt(edition.uri, edition.version_id, edition.digest, target.lane.key, now, confirmed=False)
        self.change(receipts={**before.receipts, target.name: noted})
        self.save()
        permit = Permit(target, edition, now, self._clock)
        try:
            yield permit
        except DomainBusyError:
            self.state = before  # it took no update
            raise
        # Its time counts from when the target has taken it.
        token = permit.revision.token if permit.revision else ""
        told = replace(noted, at=self._clock(), revision=token, confirmed=True)
        self.change(receipts={**before.receipts, target.name: told})
