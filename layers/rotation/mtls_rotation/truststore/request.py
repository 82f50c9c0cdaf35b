"""What a batch from the queue asks of the truststore: the events of every source, read and merged. Pure.

A reconcile looks at everything anyway. What an event adds is the name of a version that the listing may not show yet,
and the wish to force a publish.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mtls_rotation.contract import probes


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """One batch.

    Attributes:
        named: (secret ARN, version id) of every version that an event names.
        force: whether any asks this stack to publish what a guard would refuse.
        unnamed_force: whether any asks for it and names no stack: on a bus that several stacks share, that is for none.
        unreadable: the ids of the messages that are no EventBridge events.
        probes: the marks of the probes in it.
        asks_nothing: whether there is nothing but probes in it.
    """

    named: frozenset[tuple[str, str]]
    force: bool
    unreadable: tuple[str, ...]
    unnamed_force: bool = False
    probes: tuple[str, ...] = ()
    asks_nothing: bool = False

    @property
    def tokens(self) -> list[str]:
        """The tokens of the rotations that asked: a rotation's token is the id of the version that it makes."""
        return sorted({version for _, version in self.named})

    @classmethod
    def from_messages(cls, bodies: Mapping[str, str], stack: str) -> "SyncRequest":
        """Merge the events in the bodies of SQS messages, given by message id, for the stack of that name."""
        events = {message: _parse(body) for message, body in bodies.items()}
        readable = [event for event in events.values() if event is not None]
        forced = [event["detail"].get("stack") for event in readable if event["detail"].get("force") is True]
        return cls(
            named=frozenset(name for event in readable for name in _named(event)),
            force=stack in forced,
            unreadable=tuple(message for message, event in events.items() if event is None),
            unnamed_force=None in forced,
            probes=tuple(filter(None, map(probes.marked, readable))),
            asks_nothing=bool(events) and all(event and probes.marked(event) for event in events.values()),
        )


def _parse(body: str) -> dict[str, Any] | None:
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        return None
    match event:
        case {"detail-type": str(), "detail": dict()}:
            return dict(event)
        case _:
            return None


def _named(event: dict[str, Any]) -> Iterator[tuple[str, str]]:
    detail = event["detail"]
    match event["detail-type"]:
        case "Secret Label Updated":
            arns, version = event.get("resources"), detail.get("versionId")
        case "Truststore Sync Requested":
            arns, version = [detail.get("secret_arn")], detail.get("version_id")
        case _:
            return
    for arn in arns if isinstance(arns, list) else []:
        if isinstance(arn, str) and isinstance(version, str):
            yield arn, version
