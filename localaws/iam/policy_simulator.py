"""IAM's policy simulator with context keys and several resources, both of which the emulator's own passes over.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from xml.sax.saxutils import escape

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import iam

_DECISIONS = {"Allow": "allowed", "Deny": "explicitDeny"}


def simulate(emulated: Callable[[Any], Any], parameters: Any) -> Any:
    """Answer SimulatePrincipalPolicy; the emulator answers where the principal is no role."""
    role = _first(parameters, "PolicySourceArn").partition(":role/")[2]
    return _answer(role, parameters) if role else emulated(parameters)


def _answer(role: str, parameters: Any) -> Any:
    policies = iam_evaluator._gather_role_policies(role.rpartition("/")[2], get_account_id())
    results = "".join(
        f"<member><EvalActionName>{escape(action)}</EvalActionName>"
        f"<EvalResourceName>{escape(resource)}</EvalResourceName>"
        f"<EvalDecision>{_decide(action, resource, policies, parameters)}</EvalDecision>"
        "<MatchedStatements></MatchedStatements><MissingContextValues></MissingContextValues></member>"
        for action in _members(parameters, "ActionNames.member.{}")
        for resource in list(_members(parameters, "ResourceArns.member.{}")) or ["*"]
    )
    body = f"<EvaluationResults>{results}</EvaluationResults><IsTruncated>false</IsTruncated>"
    name = "SimulatePrincipalPolicy"
    return iam._xml(200, f"{name}Response", f"<{name}Result>{body}</{name}Result>", ns="iam")


def _decide(action: str, resource: str, policies: Any, parameters: Any) -> str:
    context = iam_evaluator.EvalContext(
        principal_arn=_first(parameters, "PolicySourceArn"),
        principal_type="AssumedRole",
        principal_account=get_account_id(),
        action=action,
        resource_arn=resource,
        region=get_region(),
        source_ip="127.0.0.1",
        secure_transport=True,
        service_context=_context(parameters),
    )
    return _DECISIONS.get(iam_evaluator.evaluate(context, policies).decision, "implicitDeny")


def _context(parameters: Any) -> dict[str, Any]:
    """The context keys that the caller gave, in lower case as the evaluator looks them up."""
    found: dict[str, Any] = {}
    for number, key in enumerate(_members(parameters, "ContextEntries.member.{}.ContextKeyName"), start=1):
        values = list(_members(parameters, f"ContextEntries.member.{number}.ContextKeyValues.member.{{}}"))
        found[key.lower()] = values[0] if len(values) == 1 else values
    return found


def _members(parameters: Any, name: str) -> Iterator[str]:
    number = 1
    while value := _first(parameters, name.format(number)):
        yield value
        number += 1


def _first(parameters: Any, name: str) -> str:
    value: str = iam._p(parameters, name) or ""
    return value
