"""The revocation list: from what operators uploaded under `revoked/` to the object that the authorizer reads."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import batched
from time import monotonic
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from mtls_rotation.aws.last_readable import last_readable
from mtls_rotation.contract import layout
from mtls_rotation.contract.events import CERTIFICATE_REVOKED, REVOCATION_REFUSED, REVOCATION_WITHDRAWN, Event
from mtls_rotation.errors import UnresolvedNoticeError, UnusableNoticeError
from mtls_rotation.revocation import notices
from mtls_rotation.revocation.known import Known
from mtls_rotation.revocation.register import Register, Revoked, Room, Source, added, together, withdrawn
from mtls_rotation.revocation.state import StateFile
from mtls_rotation.timing import to_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from mtls_rotation.aws.bucket import CertificateBucket, Listed, Stored
    from mtls_rotation.aws.services import Services

log = logging.getLogger(__name__)

# How many notices are read at once: a whole fleet may be revoked in one go.
_AT_ONCE = 16
# How many objects a run reads that it does not know, for how many seconds, and for how many one of them. The next run
# goes on where this one ends; what it takes besides has to fit into the function's time.
MOST_READ = 10_000
READING_TAKES = 240.0
ONE_TAKES = 60.0
# Of how many that cannot be used the list says why.
MOST_REFUSED = 100
_LONGEST_REFUSAL = 600
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class PublishedList:
    """The list as it lies in the bucket.

    Attributes:
        before: what the run found there.
        register: what is there now.
        version_id: of its object.
        state: what revocation remembers.
        restored: why the list had to be made again, in words; empty if it was there.
    """

    before: Register
    register: Register
    version_id: str
    state: StateFile
    restored: str = ""


@dataclass(frozen=True, slots=True)
class _Unread:
    """An object that has changed since it was read.

    Attributes:
        source: what it said before, if anything.
    """

    entry: Listed
    source: Source | None

    @property
    def before(self) -> tuple[notices.Notice, ...]:
        return self.source.notices if self.source else ()

    def refused(self, reason: str, *, again: bool = False) -> Source:
        """What it said before counts, and what it says now does not. `again`: it is tried again by the next run."""
        short = reason if len(reason) <= _LONGEST_REFUSAL else f"{reason[:_LONGEST_REFUSAL]}..."
        return Source("" if again else self.entry.etag, self.before, short)


class RevocationList:
    """Brings the list in line with the uploads, and announces what changed."""

    def __init__(self, services: Services) -> None:
        self._bucket = services.bucket
        self._bus = services.bus
        self._clock = services.clock

    def publish(self) -> PublishedList:
        """Write the list if it differs from the one that is there.

        Raises:
            SupersededError: another run writes it at the same time.
            ClientError: AWS refused a call.
        """
        stored = self._bucket.read(layout.REVOCATION_LIST)
        before, restored = self._before(stored)
        state = StateFile.open(self._bucket, before)
        # What was told of counts, too: somebody may have put an older list in its place, or taken something off it.
        remembered = before.joined(state.content.announced)
        known = Known(self._bucket)
        sources = _Sources(self._bucket, remembered, known, stored.modified if stored else None).read()
        keys = {
            key: known.authorities.public_key(key)
            for source in sources.values()
            for notice in source.notices
            if (key := notice.certificate.key) and key not in remembered.keys
        }
        after = Register.of(sources, remembered, self._clock(), keys)
        body = after.render()
        if stored is None or stored.body != body:
            stored = self._bucket.replace(layout.REVOCATION_LIST, body, stored, content_type=_JSON)
        return PublishedList(before, after, stored.version_id, state, restored)

    def is_well(self) -> bool:
        """Whether the list can be read."""
        stored = self._bucket.read(layout.REVOCATION_LIST)
        return stored is not None and not self._before(stored)[1]

    def announce(self, published: PublishedList) -> None:
        """Tell what has changed since it was told last: a run may have been killed in between.

        Raises:
            SupersededError: another run is ahead of this one.
        """
        state, after = published.state, published.register
        if state.content.announced.render() == after.render():
            return
        before = state.content.announced
        events = [Event(CERTIFICATE_REVOKED, _detail(it)) for it in added(after, before)]
        events += [Event(REVOCATION_WITHDRAWN, _detail(it)) for it in withdrawn(after, before)]
        events += [
            Event(REVOCATION_REFUSED, {"uri": self._bucket.uri(key), "message": message})
            for key, message in after.refused.items()
            if before.refused.get(key) != message
        ]
        self._bus.put_all(events)
        state.write(announced=after)

    def _before(self, stored: Stored | None) -> tuple[Register, str]:
        """The list so far, and why it is not what lies there; of a new stack it is empty.

        Where somebody has deleted it or written over it, what it said before that counts: since when each certificate
        is revoked, and what was said by objects that were written over.
        """
        reason = "it was deleted"
        if stored is not None:
            try:
                return Register.parse(stored.body), ""
            except ValueError as error:
                reason = f"it was written over: {error}"
        before = last_readable(self._bucket, layout.REVOCATION_LIST, Register.parse)
        if before is None and stored is None:
            return Register(), ""
        log.error("the revocation list is made again", extra={"reason": reason, "lost": before is None})
        return before or Register(), reason


class _Sources:
    """What the uploaded objects say.

    Whoever may write under `revoked/` may revoke, and nothing else: neither release anybody, nor keep others from
    revoking by what is no notice, nor fill the function's memory or its time.

    Args:
        as_of: when the list was written that is there.
    """

    def __init__(self, bucket: CertificateBucket, before: Register, known: Known, as_of: datetime | None) -> None:
        self._bucket = bucket
        self._before = before
        self._known = known
        self._as_of = as_of

    def read(self) -> dict[str, Source]:
        """By key, each object; what has not changed is not read again.

        What was uploaded last comes first, and what was tried in vain before comes last: whoever uploads what takes
        long keeps no later notice from being read, and what was read is published whatever is left.
        """
        found: dict[str, Source] = {}
        unread = []
        for entry in self._bucket.list(layout.REVOKED):
            source = self._before.sources.get(entry.key)
            if source and source.etag == entry.etag:
                found[entry.key] = source
            elif entry.size or not entry.key.endswith("/"):  # the console makes empty ones for folders
                unread.append(_Unread(entry, source))
        room = Room(
            it for source in (*found.values(), *(it.source for it in unread)) if source for it in source.notices
        )
        unread.sort(key=lambda it: it.entry.modified, reverse=True)
        unread.sort(key=self._was_tried)
        end, count = monotonic() + READING_TAKES, 0
        for count, (one, body) in enumerate(self._bodies(unread[:MOST_READ]), start=1):  # noqa: B007
            if body is not None:
                found[one.entry.key] = self._said(one, body, room)
            if monotonic() >= end:
                break
        found |= {it.entry.key: it.source for it in unread[count:] if it.source}
        return self._bounded(found, unread[count:])

    def _was_tried(self, unread: _Unread) -> bool:
        """Whether the run that wrote the list could not use it."""
        return unread.source is not None and self._as_of is not None and unread.entry.modified <= self._as_of

    def _bodies(self, unread: Sequence[_Unread]) -> Iterator[tuple[_Unread, bytes | Source | None]]:
        """Each with what `_body` says of it."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for batch in batched(unread, _AT_ONCE, strict=False):
                yield from zip(batch, pool.map(self._body, batch), strict=True)

    def _body(self, unread: _Unread) -> bytes | Source | None:
        """An object's content, or why it is not read; None if it is gone."""
        entry = unread.entry
        try:
            if entry.size > notices.LARGEST_NOTICE:
                return unread.refused(str(notices.too_large(self._bucket.uri(entry.key), entry.size)))
            stored = self._bucket.read(entry.key)
        except (ClientError, BotoCoreError) as error:
            # A permission may be mended, or an archive restored.
            return unread.refused(f"{self._bucket.uri(entry.key)} cannot be read: {error}", again=True)
        return stored.body if stored else None

    def _said(self, unread: _Unread, body: bytes | Source, room: Room) -> Source:
        """What an object says, and has said. Only its deletion undoes that: whoever may write may not un-revoke."""
        if isinstance(body, Source):
            return body
        where = self._bucket.uri(unread.entry.key)
        found: list[notices.Notice] = []
        problems: list[str] = []
        end = monotonic() + ONE_TAKES
        try:
            for it in notices.parse(body, where):
                if monotonic() > end:
                    raise notices.too_slow(where, len(found) + len(problems))
                try:
                    found.append(notices.identify(it, self._known, where))
                except UnresolvedNoticeError as error:
                    problems.append(str(error))
        except UnusableNoticeError as error:
            return unread.refused(str(error))
        if not room.take(found):
            return unread.refused(str(room.exceeded(where, len(found))), again=True)
        told = f"{len(problems)} of its notices: {problems[0]}" if len(problems) > 1 else "".join(problems)
        counts = unread.refused(told, again=bool(told))
        return Source(counts.etag, together(unread.before, found), counts.refusal)

    def _bounded(self, found: Mapping[str, Source], passed_over: Sequence[_Unread]) -> dict[str, Source]:
        """As much as the list is to hold of what cannot be used."""
        useless = sorted(key for key, it in found.items() if not it.notices)
        # Those that were told of already first, so that nothing is told again and again.
        useless.sort(key=lambda it: it not in self._before.sources)
        rest = len(useless[MOST_REFUSED:]) + sum(it.source is None for it in passed_over)
        kept = {key: it for key, it in found.items() if key not in frozenset(useless[MOST_REFUSED:])}
        if rest:
            log.error("more objects than the list names cannot be used", extra={"further": rest})
            kept[layout.REVOKED] = Source(
                "", (), f"more than {MOST_REFUSED} objects that cannot be used, or more than one run reads"
            )
        return kept


def _detail(revoked: Revoked) -> dict[str, object]:
    return {
        "issuer": revoked.certificate.issuer,
        "serial_number": revoked.certificate.serial_number,
        "revoked_at": to_rfc3339(revoked.at),
        "reason": revoked.reason,
    }
