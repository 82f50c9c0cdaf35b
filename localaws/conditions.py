"""Condition keys of IAM policies that the emulator does not fill in. Only with IAM enforced do they matter."""

from __future__ import annotations

import json
from typing import Any

from ministack.core import iam_actions


def install() -> None:
    """Give PutEvents its keys ``events:source`` and ``events:detail-type``.

    The emulator has no registry for condition keys, so its function that reads them from a request is wrapped.
    """
    from_request = iam_actions.request_tag_context

    def with_event_keys(service: str, iam_action: str, body: bytes, params: dict[str, Any]) -> dict[str, Any]:
        keys: dict[str, Any] = from_request(service, iam_action, body, params)
        return keys | event_keys(body) if iam_action == "events:PutEvents" else keys

    iam_actions.request_tag_context = with_event_keys


def event_keys(body: bytes) -> dict[str, str | list[str]]:
    """Return the keys of the events in a PutEvents request; none where it holds no events.

    AWS looks at each event alone. The emulator looks at a request once, so a request whose events differ has a list,
    which no condition on a single value meets.
    """
    try:
        entries = json.loads(body)["Entries"]
        values = {
            "events:source": sorted({entry["Source"] for entry in entries}),
            "events:detail-type": sorted({entry["DetailType"] for entry in entries}),
        }
    except (ValueError, KeyError, TypeError):
        return {}
    return {key: found[0] if len(found) == 1 else found for key, found in values.items()}
