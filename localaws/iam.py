"""How requests map to IAM actions and condition keys, where the emulator errs. It matters only with IAM enforced."""

from __future__ import annotations

import json
from typing import Any

from ministack.core import iam_actions


def install() -> None:
    """Give PutEvents its keys ``events:source`` and ``events:detail-type``, and SQS's batch calls their actions.

    The emulator has no registry for either, so its two functions that read them from a request are wrapped.
    """
    keys_of, action_of = iam_actions.request_tag_context, iam_actions.extract_iam_action

    def with_event_keys(service: str, iam_action: str, body: bytes, params: dict[str, Any]) -> dict[str, Any]:
        keys: dict[str, Any] = keys_of(service, iam_action, body, params)
        return keys | event_keys(body) if iam_action == "events:PutEvents" else keys

    def without_batch(*request: Any) -> str | None:
        action: str | None = action_of(*request)
        # SendMessageBatch and its like are calls, not actions: they need the action of the single call.
        return action.removesuffix("Batch") if action and action.startswith("sqs:") else action

    iam_actions.request_tag_context = with_event_keys
    iam_actions.extract_iam_action = without_batch


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
