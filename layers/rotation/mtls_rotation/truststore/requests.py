"""What a batch from the queue asks of the truststore: the events of every source, read and merged. Pure.

A reconcile looks at everything anyway. What an event adds is the name of a version that the listing may not show yet,
and the wish to force a publish.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mtls_rotation.errors import InvalidEventError


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """One batch.

    Attributes:
        named: (secret ARN, version id) of every version that an event names.
        force: whether any asks to publish what a guard would refuse.
        size: how many events there were.
    """

    named: frozenset[tuple[str, str]]
    force: bool
    size: int

    @classmethod
    def from_bodies(cls, bodies: Iterable[str]) -> "SyncRequest":
        """Merge the EventBridge events in the bodies of SQS messages.

        Raises:
            InvalidEventError: a body is no EventBridge event.
        """
        events = [_parse(body) for body in bodies]
        return cls(
            named=frozenset(name for event in events for name in _named(event)),
            force=any(event["detail"].get("force") is True for event in events),
            size=len(events),
        )


def _parse(body: str) -> dict[str, Any]:
    try:
        event = json.loads(body)
        if isinstance(event["detail"], dict) and isinstance(event["detail-type"], str):
            return dict(event)
    except (ValueError, KeyError, TypeError):
        pass
    raise InvalidEventError(
        where="a message of the sync queue",
        found="a body that is no EventBridge event",
        expected='JSON with "detail-type" and "detail"',
        remedy="Only the stack's EventBridge rules write to this queue; the message goes to the dead-letter queue.",
    )


def _named(event: dict[str, Any]) -> Iterator[tuple[str, str]]:
    detail = event["detail"]
    match event["detail-type"]:
        case "Secret Label Updated":
            arns, version = event.get("resources", []), detail.get("versionId")
        case "Truststore Sync Requested":
            arns, version = [detail.get("secret_arn")], detail.get("version_id")
        case _:
            return
    for arn in arns:
        if isinstance(arn, str) and isinstance(version, str):
            yield arn, version
