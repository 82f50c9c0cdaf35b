"""What the sync remembers from one run to the next, in one object. Pure.

Nothing in it is the only copy of anything: without it, every anchor on its way out begins its overlap afresh, bundles
are read again, and what was announced is announced once more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography import x509

from mtls_rotation.pki import bundles
from mtls_rotation.timing import from_rfc3339, to_rfc3339
from mtls_rotation.truststore.rollout import Told


@dataclass(frozen=True, slots=True)
class AnchorObject:
    """An object under `anchors/` as it was read at an ETag: while it has that, it need not be read again."""

    etag: str
    entries: tuple[x509.Certificate | bundles.Unreadable, ...]


@dataclass(frozen=True, slots=True)
class Announced:
    """A truststore version that was announced, and the fingerprints of the anchors in it."""

    version_id: str
    anchors: frozenset[str]


@dataclass(frozen=True, slots=True)
class Notes:
    """The notes.

    Attributes:
        unused_since: for each anchor on its way out, since when it has been unused.
        said: the statements that were announced and still hold.
        told: by target, the truststore version it was told to run last.
        announced: the truststore version that was announced last, and what it held.
        written_over: the truststore version that somebody else wrote, until that has been said.
        objects: by key, the objects under `anchors/`.
    """

    unused_since: Mapping[str, datetime] = field(default_factory=dict)
    said: frozenset[str] = frozenset()
    told: Mapping[str, Told] = field(default_factory=dict)
    objects: Mapping[str, AnchorObject] = field(default_factory=dict)
    announced: Announced | None = None
    written_over: str = ""

    def render(self) -> bytes:
        """The object's content."""
        document = {
            "unused_since": {key: to_rfc3339(moment) for key, moment in sorted(self.unused_since.items())},
            "said": sorted(self.said),
            "told": {name: [it.version_id, it.at.isoformat(), it.sure] for name, it in sorted(self.told.items())},
            "objects": {key: [it.etag, list(bundles.blocks(it.entries))] for key, it in sorted(self.objects.items())},
            "announced": [self.announced.version_id, sorted(self.announced.anchors)] if self.announced else None,
            "written_over": self.written_over,
        }
        return json.dumps(document, indent=1).encode()

    @classmethod
    def parse(cls, body: bytes) -> Notes:
        """Read the object's content; notes that somebody broke are no notes."""
        try:
            document = json.loads(body)
            json.dumps(document, ensure_ascii=False).encode()  # half a character, which JSON may hold, is no text
            return cls(
                unused_since={key: from_rfc3339(it) for key, it in document["unused_since"].items()},
                said=frozenset(map(_text, document["said"])),
                told={
                    name: Told(_text(it[0]), from_rfc3339(it[1]), it[2:] != [False])
                    for name, it in document["told"].items()
                },
                objects={
                    key: AnchorObject(_text(etag), tuple(bundles.from_blocks(blocks)))
                    for key, (etag, blocks) in document["objects"].items()
                },
                # Notes of earlier releases hold none of these.
                announced=_announced(document.get("announced")),
                written_over=_text(document.get("written_over", "")),
            )
        except (ValueError, AttributeError, TypeError, KeyError, IndexError, RecursionError):
            return cls()


def _announced(value: Any) -> Announced | None:
    return Announced(_text(value[0]), frozenset(map(_text, value[1]))) if value else None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value
