"""How requests map to IAM actions and condition keys, where the emulator errs. It matters only with IAM enforced."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ministack.core import iam_actions, iam_evaluator
from ministack.core.responses import get_account_id
from ministack.services import iam, kms

from localaws.iam import permissions


def action(emulated: Callable[..., str | None], service: str, method: str, path: str, *request: Any) -> str | None:
    """Return the IAM action of a request; of a call that takes several, the first.

    Raises:
        permissions.UnknownCallError: which action it takes is not known.
    """
    # Of Lambda the emulator has a short table of its own, which takes calls for others; the model has them all.
    operation = iam_actions._match_rest_action(service, method, path, request[-1]) if service == "lambda" else None
    found = f"lambda:{operation}" if operation else emulated(service, method, path, *request)
    if found is None:
        raise permissions.UnknownCallError(f"{service}: {method} {path}")
    return permissions.own(found)[0]


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
    """Return the condition keys that a request gives, those of PutEvents, of KMS keys and of listings included."""
    keys = emulated(service, iam_action, body, parameters)
    if iam_action in {"s3:ListBucket", "s3:ListBucketVersions"}:
        return keys | listing_keys(parameters)
    if service == "kms":
        return keys | key_attributes(body) | {"kms:CallerAccount": get_account_id()}
    if service == "secretsmanager":
        return keys | rotation_keys(iam_action, body)
    return keys | event_keys(body) if iam_action == "events:PutEvents" else keys


def rotation_keys(iam_action: str, body: bytes) -> dict[str, str]:
    """Return the condition keys of a request that starts a rotation, or moves a label; those that it says nothing of
    are not there.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecretsmanager.html
    """
    try:
        request = json.loads(body)
    except ValueError:
        return {}
    if iam_action == "secretsmanager:UpdateSecretVersionStage":
        return {"secretsmanager:VersionStage": str(request.get("VersionStage", ""))}
    if iam_action != "secretsmanager:RotateSecret":
        return {}
    found = {"secretsmanager:ModifyRotationRules": str("RotationRules" in request).lower()}
    if (immediately := request.get("RotateImmediately")) is not None:
        found["secretsmanager:RotateImmediately"] = str(immediately).lower()
    if function := request.get("RotationLambdaARN"):
        found["secretsmanager:RotationLambdaARN"] = str(function)
    return found


def listing_keys(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the condition keys of a request that lists a bucket.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html
    """
    found = {it: parameters[it] for it in ("prefix", "delimiter", "max-keys") if it in parameters}
    return {f"s3:{name}": str(value[0] if isinstance(value, list) else value) for name, value in found.items()}


def condition_key(emulated: Callable[..., Any], key: str, context: Any) -> Any:
    """Return the value of a condition key; of who calls by a role, `aws:PrincipalArn` is the role's ARN.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principalarn
    """
    found = emulated(key, context)
    if key.lower() != "aws:principalarn" or ":assumed-role/" not in context.principal_arn:
        return found
    role = iam_evaluator._role_name_from_assumed_arn(context.principal_arn)
    record = iam._roles.get_scoped(context.principal_account, None, role) or {}
    return record.get("Arn") or f"arn:aws:iam::{context.principal_account}:role/{role}"


def key_attributes(body: bytes) -> dict[str, str]:
    """Return the condition keys of the KMS key that a request names; none where it names none.

    https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
    """
    try:
        record = kms._resolve_key(json.loads(body).get("KeyId"))
    except (ValueError, AttributeError):
        return {}
    return of_key(record) if record else {}


def of_key(key: Mapping[str, Any]) -> dict[str, str]:
    """Return the condition keys of a KMS key, by its metadata."""
    names = {"kms:KeyOrigin": "Origin", "kms:KeySpec": "KeySpec", "kms:KeyUsage": "KeyUsage"}
    return {key_name: str(key[name]) for key_name, name in names.items() if name in key} | {
        "kms:MultiRegion": str(key.get("MultiRegion", False)).lower()
    }


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
