"""The revocation list: from what operators uploaded under `revoked/` to the object that the authorizer reads."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from mtls_rotation.contract import layout
from mtls_rotation.contract.events import CERTIFICATE_REVOKED, REVOCATION_REFUSED, REVOCATION_WITHDRAWN, Event
from mtls_rotation.errors import UnusableNoticeError
from mtls_rotation.revocation import notices
from mtls_rotation.revocation.register import Register, Revoked, Source, added, together, withdrawn
from mtls_rotation.revocation.state import StateFile
from mtls_rotation.timing import to_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mtls_rotation.aws.bucket import Listed
    from mtls_rotation.aws.services import Services

log = logging.getLogger(__name__)

# How many notices are read at once: a whole fleet may be revoked in one go.
_AT_ONCE = 16
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class PublishedList:
    """The list as it lies in the bucket.

    Attributes:
        before: what the run found there.
        register: what is there now.
        version_id: of its object.
        state: what revocation remembers, with the list announced.
    """

    before: Register
    register: Register
    version_id: str
    state: StateFile


class RevocationList:
    """Brings the list in line with the uploads, and announces what changed."""

    def __init__(self, services: Services) -> None:
        self._bucket = services.bucket
        self._bus = services.bus
        self._clock = services.clock

    def publish(self) -> PublishedList:
        """Write the list if it differs from the one that is there, and announce the difference.

        Raises:
            SupersededError: another run writes it at the same time.
            ClientError: AWS refused a call.
        """
        stored = self._bucket.read(layout.REVOCATION_LIST)
        before = _parsed(stored.body) if stored else Register()
        state = StateFile.open(self._bucket, before)
        after = Register.of(dict(self._sources(before)), before, self._clock())
        body = after.render()
        if stored is None or stored.body != body:
            stored = self._bucket.replace(layout.REVOCATION_LIST, body, stored, content_type=_JSON)
        # By what was announced, and not by what lay there: a run may have been killed in between.
        if state.content.announced.render() != body:
            self._announce(state.content.announced, after)
            state.write(announced=after)
        return PublishedList(before, after, stored.version_id, state)

    def _sources(self, before: Register) -> Iterable[tuple[str, Source]]:
        unread = []
        for entry in self._bucket.list(layout.REVOKED):
            known = before.sources.get(entry.key)
            if known and known.etag == entry.etag:
                yield entry.key, known
            elif not entry.key.endswith("/"):
                unread.append((entry, known))
        if unread:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                for (entry, _), source in zip(unread, pool.map(lambda it: self._read(*it), unread), strict=True):
                    if source:
                        yield entry.key, source

    def _read(self, entry: Listed, known: Source | None) -> Source | None:
        """What an object says, and has said. Only its deletion undoes that: whoever may write may not un-revoke.

        One that cannot be used holds up no other.
        """
        where = f"s3://{self._bucket.name}/{entry.key}"
        before = known.notices if known else ()
        try:
            if entry.size > notices.LARGEST_NOTICE:
                raise UnusableNoticeError(
                    where=where,
                    found=f"an object of {entry.size} bytes",
                    expected=f"no more than {notices.LARGEST_NOTICE} bytes",
                    remedy="Upload it in parts.",
                )
            stored = self._bucket.read(entry.key)
            return Source(stored.etag, together(before, notices.parse(stored.body, where))) if stored else None
        except UnusableNoticeError as error:
            return Source(entry.etag, before, str(error))
        except (ClientError, BotoCoreError) as error:
            # Without its ETag, so that it is tried again: a permission may be mended, or an archive restored.
            return Source("", before, f"{where} cannot be read: {error}")

    def _announce(self, before: Register, after: Register) -> None:
        events = [Event(CERTIFICATE_REVOKED, _detail(it)) for it in added(after, before)]
        events += [Event(REVOCATION_WITHDRAWN, _detail(it)) for it in withdrawn(after, before)]
        events += [
            Event(REVOCATION_REFUSED, {"uri": f"s3://{self._bucket.name}/{key}", "message": message})
            for key, message in after.refused.items()
            if before.refused.get(key) != message
        ]
        self._bus.put_all(events)


def _parsed(body: bytes) -> Register:
    """The list that is there. One that somebody has broken is made anew from the notices; only the dates are lost."""
    try:
        return Register.parse(body)
    except ValueError as error:
        log.warning("the revocation list is made anew", extra={"reason": str(error)})
        return Register()


def _detail(revoked: Revoked) -> dict[str, object]:
    return {
        "issuer": revoked.certificate.issuer,
        "serial_number": revoked.certificate.serial_number,
        "revoked_at": to_rfc3339(revoked.at),
        "reason": revoked.reason,
    }
