"""Whether a function's resource policy lets a service invoke it. Deny statements are not read."""

from __future__ import annotations

import fnmatch
from typing import Any


def allows(function_arn: str, service: str, *sources: str) -> bool:
    """Whether ``service`` may invoke the function for one of the ARNs that it would do so for."""
    from ministack.services import lambda_svc

    policy = lambda_svc.function_policy_for_arn(function_arn)
    statements = policy[0]["Statement"] if policy else []
    return any(_matches(statement, service, source) for statement in statements for source in sources)


def _matches(statement: dict[str, Any], service: str, source: str) -> bool:
    principal = statement.get("Principal")
    named = principal.get("Service") if isinstance(principal, dict) else principal
    if named not in (service, "*"):
        return False
    condition = statement.get("Condition", {})
    arn = condition.get("ArnLike", {}).get("AWS:SourceArn", "*")
    account = condition.get("StringEquals", {}).get("AWS:SourceAccount", source.split(":")[4])
    return fnmatch.fnmatchcase(source, arn) and bool(account == source.split(":")[4])
