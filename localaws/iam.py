"""How requests map to IAM actions and condition keys, where the emulator errs, and what else a caller has to be allowed.

It matters only with IAM enforced.
"""

from __future__ import annotations

import json
from typing import Any

from ministack import app as emulator
from ministack.core import iam_actions, iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import kms

from localaws.asgi import Answer

type Keys = dict[str, Any]

# Condition keys on a parameter of one call: the action, the key, the parameter, and what counts when it is left out.
_PARAMETER_KEYS = (
    ("kms:Sign", "kms:SigningAlgorithm", "SigningAlgorithm", None),
    ("kms:Sign", "kms:MessageType", "MessageType", "RAW"),
    ("kms:Verify", "kms:SigningAlgorithm", "SigningAlgorithm", None),
    ("kms:Verify", "kms:MessageType", "MessageType", "RAW"),
    ("kms:ScheduleKeyDeletion", "kms:ScheduleKeyDeletionPendingWindowInDays", "PendingWindowInDays", 30),
)


def install() -> None:
    """Give PutEvents and the calls of KMS their condition keys, and SQS's batch calls their actions.

    The emulator has no registry for either, so its two functions that read them from a request are wrapped.
    """
    keys_of, action_of = iam_actions.request_tag_context, iam_actions.extract_iam_action

    def with_more_keys(service: str, iam_action: str, body: bytes, params: dict[str, Any]) -> Keys:
        keys: Keys = keys_of(service, iam_action, body, params)
        if iam_action == "events:PutEvents":
            return keys | event_keys(body)
        return keys | kms_keys(iam_action, body) if service == "kms" else keys

    def without_batch(*request: Any) -> str | None:
        action: str | None = action_of(*request)
        # SendMessageBatch and its like are calls, not actions: they need the action of the single call.
        return action.removesuffix("Batch") if action and action.startswith("sqs:") else action

    iam_actions.request_tag_context = with_more_keys
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


def kms_keys(action: str, body: bytes) -> Keys:
    """Return the keys of a KMS request: the caller's account, the kind of the key made or used, the call's parameters.

    ``kms:ViaService`` is never among them: every request that arrives here is the caller's own.
    """
    try:
        data = json.loads(body)
        key = _new_key(data) if action == "kms:CreateKey" else kms._resolve_key(data.get("KeyId"))
    except (ValueError, AttributeError):
        return {}
    keys: Keys = {"kms:CallerAccount": get_account_id()}
    if key:
        keys |= {
            "kms:KeySpec": key["KeySpec"],
            "kms:KeyUsage": key["KeyUsage"],
            "kms:KeyOrigin": key["Origin"],
            "kms:MultiRegion": str(key["MultiRegion"]).lower(),
        }
    for named, name, parameter, default in _PARAMETER_KEYS:
        if named == action and data.get(parameter, default) is not None:
            keys[name] = data.get(parameter, default)
    return keys


def _new_key(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "KeySpec": data.get("KeySpec") or data.get("CustomerMasterKeySpec") or "SYMMETRIC_DEFAULT",
        "KeyUsage": data.get("KeyUsage") or "ENCRYPT_DECRYPT",
        "Origin": data.get("Origin") or "AWS_KMS",
        "MultiRegion": data.get("MultiRegion", False),
    }


def denial(caller: str | None, action: str, resource: str, keys: Keys | None = None) -> Any:
    """Return why IAM, if it is enforced, keeps a caller from an action; ``None`` if it does not.

    Args:
        caller: the access key id of a request; a call within the emulator has none, and may do everything.
        action: the action, such as ``s3:GetObject``; its prefix is the emulator's name of the service.
        resource: the ARN that the policies are asked for.
        keys: the condition keys of the request, beyond those that every request has.
    """
    if not emulator.AUTH or not caller:
        return None
    service = action.partition(":")[0]
    return iam_evaluator.enforce(caller, action, service, get_region(), resource_arn=resource, service_context=keys)


def refusal(service: str, caller: str | None, action: str, resource: str, keys: Keys | None = None) -> Answer | None:
    """Return what a service answers a caller who lacks a permission besides that of the call; else ``None``.

    Args:
        service: the service that was called, in whose protocol to answer.
        caller: see :func:`denial`, as for the other arguments.
        action: see there.
        resource: see there.
        keys: see there.
    """
    denied = denial(caller, action, resource, keys)
    if denied is None:
        return None
    principal = getattr(denied, "principal_arn", "")
    explicit = getattr(denied, "decision", "") == "Deny"
    message = iam_actions.identity_denial_message(action, principal, resource, explicit)
    answer: Answer = iam_actions.access_denied_response(service, action, principal, "", message=message)
    return answer
