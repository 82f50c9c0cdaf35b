"""How requests map to IAM actions and condition keys, where the emulator errs. It matters only with IAM enforced."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

_VERBS = {"GET": "Get", "DELETE": "Delete"}


def action(emulated: Callable[..., str | None], service: str, method: str, *request: Any) -> str | None:
    """Return the IAM action of a request."""
    found = emulated(service, method, *request)
    if found == "lambda:PutFunctionConcurrency":
        return f"lambda:{_VERBS.get(method, 'Put')}FunctionConcurrency"
    # SendMessageBatch and its like are calls, not actions: they need the action of the single call.
    return found.removesuffix("Batch") if found and found.startswith("sqs:") else found


def resource(
    emulated: Callable[..., str],
    service: str,
    method: str,
    path: str,
    headers: Any,
    body: bytes,
    parameters: dict[str, Any],
    *where: str,
) -> str:
    """Return the resource of a request; of SimulatePrincipalPolicy, the principal whose policies are simulated."""
    principal = parameters.get("PolicySourceArn", "") if service == "iam" else ""
    found = emulated(service, method, path, headers, body, parameters, *where)
    return str(principal[0] if isinstance(principal, list) else principal) or found


def condition_keys(
    emulated: Callable[..., dict[str, Any]], service: str, iam_action: str, body: bytes, parameters: dict[str, Any]
) -> dict[str, Any]:
    """Return the condition keys that a request's body gives, those of PutEvents included."""
    keys = emulated(service, iam_action, body, parameters)
    return keys | event_keys(body) if iam_action == "events:PutEvents" else keys


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
