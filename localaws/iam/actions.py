"""How requests map to IAM actions and condition keys, where the emulator errs. It matters only with IAM enforced."""

from __future__ import annotations

import json
from typing import Any

from ministack.core import iam_actions

_VERBS = {"GET": "Get", "DELETE": "Delete"}


def install() -> None:
    """Give PutEvents its condition keys, calls of SQS and Lambda their actions, and the policy simulator its resource.

    The emulator has no registry for these, so its three functions that read them from a request are wrapped.
    """
    keys_of, action_of = iam_actions.request_tag_context, iam_actions.extract_iam_action
    resource_of = iam_actions.extract_resource_arn

    def with_event_keys(service: str, iam_action: str, body: bytes, params: dict[str, Any]) -> dict[str, Any]:
        keys: dict[str, Any] = keys_of(service, iam_action, body, params)
        return keys | event_keys(body) if iam_action == "events:PutEvents" else keys

    def as_aws_names_it(service: str, method: str, *request: Any) -> str | None:
        action: str | None = action_of(service, method, *request)
        if action == "lambda:PutFunctionConcurrency":
            return f"lambda:{_VERBS.get(method, 'Put')}FunctionConcurrency"
        # SendMessageBatch and its like are calls, not actions: they need the action of the single call.
        return action.removesuffix("Batch") if action and action.startswith("sqs:") else action

    def with_principals(
        service: str, method: str, path: str, headers: Any, body: bytes, parameters: dict[str, Any], *where: str
    ) -> str:
        # SimulatePrincipalPolicy is about the principal whose policies are simulated.
        principal = parameters.get("PolicySourceArn", "") if service == "iam" else ""
        resource: str = resource_of(service, method, path, headers, body, parameters, *where)
        return str(principal[0] if isinstance(principal, list) else principal) or resource

    iam_actions.extract_resource_arn = with_principals
    iam_actions.request_tag_context = with_event_keys
    iam_actions.extract_iam_action = as_aws_names_it


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
