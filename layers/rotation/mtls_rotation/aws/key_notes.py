"""Which KMS key was made for which version of a CA secret: noted in the bucket, which shows a write at once.

KMS itself shows a new key late, and the tagging API what bears a tag later still.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from mtls_rotation.contract import layout
from mtls_rotation.errors import SupersededError
from mtls_rotation.timing import from_rfc3339, to_rfc3339

if TYPE_CHECKING:
    from mtls_rotation.aws.bucket import CertificateBucket, Stored

_MEDIA_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class KeyNote:
    """What is noted for a CA secret.

    Attributes:
        version_id: the version that the keys were made for.
        key_id: the key to use; None if there is none.
        made: when that was made.
        discarded: keys of that version that KMS was asked to delete: they bear its tag, and are not to be used.
    """

    version_id: str = ""
    key_id: str | None = None
    made: datetime | None = None
    discarded: frozenset[str] = frozenset()

    def render(self) -> bytes:
        """The note as it is stored."""
        made = to_rfc3339(self.made) if self.made else None
        document = {"version_id": self.version_id, "key_id": self.key_id, "made": made}
        return json.dumps(document | {"discarded": sorted(self.discarded)}).encode()

    @classmethod
    def parse(cls, body: bytes) -> KeyNote:
        """The note in an object; an empty one if it is none of ours."""
        try:
            document = json.loads(body)
            made = document["made"]
            return cls(
                version_id=str(document["version_id"]),
                key_id=document["key_id"] and str(document["key_id"]),
                made=from_rfc3339(made) if made else None,
                discarded=frozenset(map(str, document["discarded"])),
            )
        except (ValueError, TypeError, KeyError, RecursionError):
            return cls()

    def of(self, version_id: str) -> KeyNote:
        """This note if it is about the version, else an empty one about it."""
        return self if self.version_id == version_id else KeyNote(version_id)


class KeyNotes:
    """Reads and writes them."""

    def __init__(self, bucket: CertificateBucket) -> None:
        self._bucket = bucket

    def read(self, secret: str) -> tuple[KeyNote, Stored | None]:
        """What is noted for a CA secret, and the object that says so.

        Where there is none, an empty one is written first: to ask for what is not there would take s3:ListBucket, which
        a rotation has not.
        """
        key = layout.key_note(secret)
        try:
            stored: Stored | None = self._bucket.replace(key, KeyNote().render(), None, content_type=_MEDIA_TYPE)
        except SupersededError:
            stored = self._bucket.read(key)
        return (KeyNote.parse(stored.body) if stored else KeyNote()), stored

    def write(self, secret: str, note: KeyNote, previous: Stored | None) -> None:
        """Note it, in place of what was read.

        Raises:
            SupersededError: another run has noted something since.
        """
        self._bucket.replace(layout.key_note(secret), note.render(), previous, content_type=_MEDIA_TYPE)
