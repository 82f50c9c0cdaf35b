"""What the revocation remembers from one run to the next, so that a run which is killed is carried on by the next.

Nothing in it is the only copy of anything. Without it, what lies in the bucket counts as announced.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mtls_rotation.contract import layout
from mtls_rotation.revocation.register import Register

if TYPE_CHECKING:
    from mtls_rotation.aws.bucket import CertificateBucket, Stored


@dataclass(frozen=True)
class RevocationState:
    """What is remembered.

    Attributes:
        announced: the revocation list as it was announced last.
        crls: by key, the ETag of each CRL that was announced.
        given_up: by name, the secrets whose revoked AWSPENDING was given up, each with its version at AWSCURRENT then:
            as long as it has that one, its rotation is to be started.
    """

    announced: Register = field(default_factory=Register)
    crls: Mapping[str, str] = field(default_factory=dict)
    given_up: Mapping[str, str] = field(default_factory=dict)

    def render(self) -> bytes:
        """The object's content. The same state gives the same bytes."""
        document = {
            "announced": json.loads(self.announced.render()),
            "crls": dict(sorted(self.crls.items())),
            "given_up": dict(sorted(self.given_up.items())),
        }
        return json.dumps(document, indent=1).encode()

    @classmethod
    def parse(cls, body: bytes) -> RevocationState | None:
        """Read the object's content; None where it was written over."""
        try:
            document: dict[str, Any] = json.loads(body)
            announced = Register.parse(json.dumps(document["announced"]).encode())
            return cls(announced, _texts(document["crls"]), _texts(document["given_up"]))
        except (ValueError, AttributeError, TypeError, KeyError, RecursionError):
            return None


class StateFile:
    """That, where it lies in the bucket."""

    def __init__(self, bucket: CertificateBucket, content: RevocationState, stored: Stored | None) -> None:
        self.content = content
        self._bucket = bucket
        self._stored = stored

    @classmethod
    def open(cls, bucket: CertificateBucket, register: Register) -> StateFile:
        """What the run before left. Where it left nothing, what lies in the bucket counts as announced.

        Raises:
            SupersededError: another run writes it at this moment.
        """
        stored = bucket.read(layout.REVOCATION_NOTES)
        if stored and (content := RevocationState.parse(stored.body)):
            return cls(bucket, content, stored)
        opened = cls(bucket, RevocationState(), stored)
        # Before anything is done: a first run that is killed must not be taken for one that had nothing to say.
        opened.write(announced=register, crls={entry.key: entry.etag for entry in bucket.list(layout.CRLS)})
        return opened

    def write(self, **changes: Any) -> None:
        """Change what is remembered.

        Raises:
            SupersededError: another run wrote it in the meantime.
        """
        self.content = replace(self.content, **changes)
        body = self.content.render()
        if self._stored is None or self._stored.body != body:
            self._stored = self._bucket.replace(
                layout.REVOCATION_NOTES, body, self._stored, content_type="application/json"
            )


def _texts(value: Any) -> dict[str, str]:
    if not all(isinstance(it, str) for it in value.values()):
        raise TypeError("no text")
    return dict(value)
