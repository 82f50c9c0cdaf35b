"""The objects under `anchors/`: listed and read within bounds, whoever wrote how many of them. It reads, no more.

Whatever an upload is, it costs a run a bounded time, and no other upload. What has not changed is not read again. Where
something has to wait, it is what came last: what was read before comes first, then the oldest.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from cryptography import x509

from mtls_rotation.aws.bucket import why_withheld
from mtls_rotation.aws.retries import refused
from mtls_rotation.contract import layout
from mtls_rotation.contract.places import Unread, unread
from mtls_rotation.pki import bundles
from mtls_rotation.truststore.state import AnchorObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from mtls_rotation.aws.bucket import CertificateBucket, Listed

log = logging.getLogger(__name__)

# What stands for the ETag of an object that could not be read: it may be readable next time, with the ETag it has now.
_NOT_READ = ""
# A certificate in PEM is a few KiB. So many of them one run reads, and so many are remembered.
_LARGEST_WORD, _WORDS_READ, _MOST_WORDS = 64 * 1024, 100, 1_000
# So many objects under a wrong name are told.
_MISPLACED_TOLD = 20
# What operators upload is listed last.
_PREFIXES = (layout.DISTRUSTED_ANCHORS, layout.MANAGED_ANCHORS, layout.STATIC_ANCHORS)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of what is uploaded is looked at.

    Attributes:
        listed: how many objects.
        size: how many bytes one may have.
        sizes: how many bytes those that hold certificates may have together.
        blocks: how many blocks of one are read.
        spoilt: how many blocks of one may be no certificates; after them it is not read on.
        reads: how many objects one run reads. The rest is for the next.
        bytes_read: likewise, how many bytes.
        tried_again: how many of those that could not be read before one run tries again.
    """

    listed: int = 10_000
    size: int = 4 * 1024 * 1024
    sizes: int = 8 * 1024 * 1024
    blocks: int = 3_000
    spoilt: int = 10
    reads: int = 1_000
    bytes_read: int = 128 * 1024 * 1024
    tried_again: int = 20

    def for_truststores_of(self, capacity: int) -> Bounds:
        """These, for each thousand certificates that the largest truststore takes."""
        times = max(1, -(-capacity // 1_000))
        return replace(self, listed=self.listed * times, sizes=self.sizes * times)


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies under `anchors/`.

    Attributes:
        uploaded: what operators upload, as far as it is looked at.
        goes_on: whether they have uploaded more.
        misplaced: what lies where nobody reads it, as far as it is told.
    """

    managed: tuple[Listed, ...]
    distrusted: tuple[Listed, ...]
    uploaded: tuple[Listed, ...]
    goes_on: bool = False
    misplaced: tuple[Unread, ...] = ()


@dataclass(frozen=True, slots=True)
class AnchorObjects:
    """What the objects hold, by key.

    Attributes:
        known: what was read, now or before. While an object has the ETag in it, it need not be read again.
        passed_over: what is left out unread, and why.
        unfinished: whether some are still to be read, for a reason that passes.
    """

    known: Mapping[str, AnchorObject]
    passed_over: Mapping[str, bundles.Unreadable] = field(default_factory=dict)
    unfinished: bool = False


class AnchorReader:
    """Lists and reads the objects."""

    def __init__(self, bucket: CertificateBucket, bounds: Bounds) -> None:
        self._bucket = bucket
        self._bounds = bounds

    def list(self, known: Mapping[str, AnchorObject]) -> Listing:
        """Find out what there is.

        Args:
            known: what was read before: what of it lies beyond the bound is looked up one by one.
        """
        found: dict[str, list[Listed]] = {it: [] for it in _PREFIXES}
        uploaded, goes_on = found[layout.STATIC_ANCHORS], False
        misplaced: list[Unread] = []
        for entry in self._bucket.list(layout.ANCHORS):
            if (stray := unread(entry.key, entry.size, takes_signed=False)) and len(misplaced) < _MISPLACED_TOLD:
                misplaced.append(stray)
            prefix = next((it for it in _PREFIXES if entry.key.startswith(it)), None)
            if prefix is None or (entry.key.endswith("/") and not entry.size):  # the console makes those for folders
                continue
            if prefix == layout.STATIC_ANCHORS and len(uploaded) == self._bounds.listed:
                goes_on = True
                break
            found[prefix].append(entry)
        if goes_on:
            last = uploaded[-1].key
            beyond = sorted(it for it in known if it.startswith(layout.STATIC_ANCHORS) and it > last)
            uploaded += filter(None, map(self._bucket.look_up, beyond))
        return Listing(
            tuple(found[layout.MANAGED_ANCHORS]),
            tuple(found[layout.DISTRUSTED_ANCHORS]),
            tuple(uploaded),
            goes_on,
            tuple(misplaced),
        )

    def read(
        self, listing: Listing, known: Mapping[str, AnchorObject], managed: Iterable[str], now: datetime
    ) -> AnchorObjects:
        """Read what is new.

        Args:
            listing: what there is.
            known: what was read before.
            managed: the fingerprints of the managed anchors that are needed.
            now: by it those that cannot be read take turns.

        Raises:
            ClientError: a managed anchor could not be read, for a reason that passes.
            BotoCoreError: likewise.
        """
        wanted = set(map(layout.managed_anchor_key, managed))
        ours = {}
        for entry in (it for it in listing.managed if it.key in wanted):
            before = known.get(entry.key)
            after = before if before and before.etag == entry.etag else read(self._bucket, entry, self._bounds)
            if after is not None:
                ours[entry.key] = after
        words, put_off = self._distrusted(listing.distrusted, known)
        uploads = _Uploads(self._bucket, self._bounds)
        uploads.take_in(listing.uploaded, known, now)
        for stray in listing.misplaced:
            where = f"it would be trusted as {stray.better_key}" if stray.better_key else "it is trusted nowhere"
            uploads.passed_over[stray.key] = bundles.Unreadable(f"nobody reads it, as {stray.why}; {where}")
        if listing.goes_on:
            uploads.passed_over[layout.STATIC_ANCHORS] = bundles.Unreadable(
                f"there are more than {self._bounds.listed} objects under it, of which the last are not read"
            )
        return AnchorObjects({**ours, **words, **uploads.known}, uploads.passed_over, uploads.unfinished or put_off)

    def _distrusted(
        self, listed: Iterable[Listed], known: Mapping[str, AnchorObject]
    ) -> tuple[dict[str, AnchorObject], bool]:
        """What is distrusted, as far as it is read; and whether some is still to be, for a reason that passes.

        Their names count, read or not. So a few are read in one run, none that is larger than a certificate, and no
        more than a truststore has: none of them holds a sync up.
        """
        found: dict[str, AnchorObject] = {}
        reads, put_off = 0, False
        for entry in listed:
            before = known.get(entry.key)
            if before and before.etag == entry.etag:
                found[entry.key] = before
            elif entry.size > _LARGEST_WORD or len(found) >= _MOST_WORDS:
                continue
            elif reads >= _WORDS_READ:
                put_off = True
            else:
                reads += 1
                try:
                    after = read(self._bucket, entry, self._bounds)
                except (ClientError, BotoCoreError) as error:
                    log.warning("what is distrusted is read later", extra={"key": entry.key, "reason": str(error)})
                    after, put_off = before, True
                if after is not None:
                    found[entry.key] = after
        return found, put_off


class _Uploads:
    """What operators upload, as one run reads it. Attributes as in `AnchorObjects`."""

    def __init__(self, bucket: CertificateBucket, bounds: Bounds) -> None:
        self._bucket = bucket
        self._bounds = bounds
        self._size = self._reads = self._bytes_read = 0
        self.known: dict[str, AnchorObject] = {}
        self.passed_over: dict[str, bundles.Unreadable] = {}
        self.unfinished = False

    def take_in(self, listed: Iterable[Listed], known: Mapping[str, AnchorObject], now: datetime) -> None:
        """Read what is new among these, and of what could not be read before some."""
        new: list[Listed] = []
        again: list[Listed] = []
        for entry in listed:
            before = known.get(entry.key)
            if before is None:
                new.append(entry)
            elif before.etag == entry.etag:
                self._remember(entry, before)
            else:
                # Until it is read, what it was counts.
                self.known[entry.key] = before
                (again if before.etag == _NOT_READ else new).append(entry)
        for entry in sorted(new, key=lambda it: (it.modified, it.key)):
            self._take(entry)
        for entry in _in_turn(again, self._bounds.tried_again, now):
            self._take(entry)

    def _take(self, entry: Listed) -> None:
        if entry.size <= self._bounds.size and self._size + entry.size > self._bounds.sizes:
            self.known.pop(entry.key, None)
            self.passed_over[entry.key] = bundles.Unreadable(
                f"all bundles together have more than {self._bounds.sizes} bytes, and this one is among the last"
            )
            return
        spent = self._reads >= self._bounds.reads or self._bytes_read + entry.size > self._bounds.bytes_read
        if self.unfinished or spent:
            self.unfinished = True
            return
        self._reads += 1
        self._bytes_read += min(entry.size, self._bounds.size)
        try:
            content = read(self._bucket, entry, self._bounds)
        except (ClientError, BotoCoreError) as error:
            log.warning("an upload is read later", extra={"key": entry.key, "reason": str(error)})
            self.unfinished = True
            return
        if content is None:
            self.known.pop(entry.key, None)
        else:
            self._remember(entry, content)

    def _remember(self, entry: Listed, content: AnchorObject) -> None:
        self.known[entry.key] = content
        if any(isinstance(it, x509.Certificate) for it in content.entries):
            self._size += entry.size


def read(bucket: CertificateBucket, entry: Listed, bounds: Bounds) -> AnchorObject | None:
    """What an object holds; None if there is none any more. One that S3 will not hand out holds nothing.

    Raises:
        ClientError: it could not be read, for a reason that passes.
        BotoCoreError: likewise.
    """
    if entry.size > bounds.size:
        too_large = f"an object of {entry.size} bytes, where a bundle may have {bounds.size}"
        return AnchorObject(entry.etag, (bundles.Unreadable(too_large),))
    try:
        stored = bucket.read(entry.key)
    except ClientError as error:
        if not refused(error):
            raise
        log.warning("an object cannot be read", extra={"key": entry.key, "reason": str(error)})
        return AnchorObject(_NOT_READ, (bundles.Unreadable(why_withheld(error)),))
    if stored is None:
        return None
    return AnchorObject(stored.etag, tuple(bundles.parse(stored.body, most=bounds.blocks, spoilt=bounds.spoilt)))


def _in_turn(entries: list[Listed], most: int, now: datetime) -> list[Listed]:
    """So many of these, others each minute."""
    first = int(now.timestamp() // 60) * most % len(entries) if entries else 0
    return (entries[first:] + entries[:first])[:most]
