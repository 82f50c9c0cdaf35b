"""``AWS::SecretsManager::RotationSchedule``, through RotateSecret and CancelRotateSecret."""

from __future__ import annotations

from typing import Any

from localaws.cloudformation.calls import CallFailedError, call_service
from localaws.cloudformation.handlers import Handlers, Properties, Provisioned

TYPE = "AWS::SecretsManager::RotationSchedule"
REPLACING = ("SecretId",)


def handlers() -> Handlers:
    """Return what to register for the type."""
    return {"create": create, "update": update, "delete": delete}


def create(logical_id: str, properties: Properties, stack_name: str) -> Provisioned:
    """Configure rotation, and rotate at once unless the template says not to; ``Ref`` is the secret's ARN."""
    del logical_id, stack_name
    if "HostedRotationLambda" in properties:
        raise ValueError(f"{TYPE}: HostedRotationLambda is not supported here; give a RotationLambdaARN.")
    request = {
        "SecretId": properties.get("SecretId"),
        "RotationLambdaARN": properties.get("RotationLambdaARN"),
        "RotationRules": _rules(properties),
        "RotateImmediately": str(properties.get("RotateImmediatelyOnUpdate", True)).lower() == "true",
    }
    present = {name: value for name, value in request.items() if value is not None}
    answer = call_service("secretsmanager", "POST", "RotateSecret", present)
    return answer["ARN"], {"Id": answer["ARN"]}


def update(physical_id: str, old: Properties, new: Properties, stack_name: str) -> Provisioned:
    """Put the new configuration in force; another secret is another schedule."""
    provisioned = create("", new, stack_name)
    if provisioned[0] != physical_id:
        delete(physical_id, old)
    return provisioned


def delete(physical_id: str, properties: Properties) -> None:
    """Cancel the rotation; nothing to do when the secret, or its rotation, is gone already."""
    del properties
    try:
        call_service("secretsmanager", "POST", "CancelRotateSecret", {"SecretId": physical_id})
    except CallFailedError:
        return


def _rules(properties: Properties) -> dict[str, Any] | None:
    rules = properties.get("RotationRules")
    if rules is None:
        return None
    typed: dict[str, Any] = dict(rules)
    if "AutomaticallyAfterDays" in typed:
        typed["AutomaticallyAfterDays"] = int(typed["AutomaticallyAfterDays"])
    return typed
