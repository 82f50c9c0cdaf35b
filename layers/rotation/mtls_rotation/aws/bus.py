"""Puts events on EventBridge. `contract.events` has their names."""

from __future__ import annotations

import json
from itertools import batched
from typing import TYPE_CHECKING

from mtls_rotation.contract.events import SOURCE, Event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_events import EventBridgeClient


# PutEvents takes ten entries in a call.
# https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
_AT_ONCE = 10


class EventBus:
    """Puts events with our source on one bus."""

    def __init__(self, client: EventBridgeClient, name: str) -> None:
        self._client = client
        self._name = name

    def put(self, detail_type: str, detail: dict[str, object], *resources: str) -> None:
        """Put one event. Raises as `put_all`."""
        self.put_all([Event(detail_type, detail, resources)])

    def put_all(self, events: Iterable[Event]) -> None:
        """Put events, ten in a call.

        Raises:
            RuntimeError: EventBridge did not take one (PutEvents answers 200 even then).
        """
        for some in batched(events, _AT_ONCE, strict=False):
            answer = self._client.put_events(
                Entries=[
                    {
                        "EventBusName": self._name,
                        "Source": SOURCE,
                        "DetailType": event.detail_type,
                        "Detail": json.dumps(event.detail),
                        "Resources": list(event.resources),
                    }
                    for event in some
                ]
            )
            for event, entry in zip(some, answer["Entries"], strict=True):
                if "ErrorCode" in entry:
                    raise RuntimeError(
                        f"EventBridge refused {event.detail_type!r}: {entry['ErrorCode']}: {entry.get('ErrorMessage')}"
                    )
