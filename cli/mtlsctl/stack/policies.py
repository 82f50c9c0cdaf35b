"""Whether a resource's policy lets an AWS service in. Read strictly: what is not sure to let it in does not. Pure.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

type Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ServiceCall:
    """What a service does for a resource of an account.

    Attributes:
        service: its principal, such as "events.amazonaws.com".
        action: such as "sqs:SendMessage".
        resource: the ARN of what is called.
        source: the ARN of what it is called for, such as a rule's.
    """

    service: str
    action: str
    resource: str
    source: str

    @property
    def keys(self) -> Mapping[str, str]:
        """The condition keys that such a call has, in lower case."""
        account = self.source.split(":")[4] or self.resource.split(":")[4]
        return {
            "aws:sourcearn": self.source,
            "aws:sourceaccount": account,
            "aws:securetransport": "true",
            "aws:principalisawsservice": "true",
            "aws:principalservicename": self.service,
        }


def parsed(text: str | None) -> Document:
    """A policy as a service gives it; one without statements where there is none, or none that can be read."""
    try:
        document = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def statements(policy: Document) -> list[Document]:
    """A policy's statements, of which there may be one alone, outside of a list."""
    found = policy.get("Statement", [])
    return [it for it in (found if isinstance(found, list) else [found]) if isinstance(it, dict)]


def admits(policy: Document, call: ServiceCall) -> bool:
    """Whether a policy lets a service in: one statement allows it, and none may deny it."""
    found = statements(policy)
    return any(_allows(it, call) for it in found) and not any(denies(it, call) for it in found)


def _allows(statement: Document, call: ServiceCall) -> bool:
    """Whether a statement is sure to allow it: by the service's name, without "all but"."""
    principal = statement.get("Principal")
    return (
        statement.get("Effect") == "Allow"
        and isinstance(principal, dict)
        and call.service in _listed(principal.get("Service"))
        and _matches_any(_listed(statement.get("Action")), call.action.lower(), str.lower)
        and _matches_any(_listed(statement.get("Resource")), call.resource)
        and _conditions_hold(statement, call, unknown=False)
    )


def denies(statement: Document, call: ServiceCall) -> bool:
    """Whether a statement denies it, or may."""
    if statement.get("Effect") != "Deny":
        return False
    conditions = _conditions_hold(statement, call, unknown=True)
    return conditions and _concerns_principal(statement, call) and _concerns_what(statement, call)


def _concerns_principal(statement: Document, call: ServiceCall) -> bool:
    if "NotPrincipal" in statement:
        return not _names(statement["NotPrincipal"], call.service)
    return _names(statement.get("Principal"), call.service)


def _names(principal: Any, service: str) -> bool:
    if isinstance(principal, dict):
        return service in _listed(principal.get("Service")) or "*" in _listed(principal.get("AWS"))
    return "*" in _listed(principal)


def _concerns_what(statement: Document, call: ServiceCall) -> bool:
    action = _matches_any(_listed(statement.get("Action", statement.get("NotAction"))), call.action.lower(), str.lower)
    resource = _matches_any(_listed(statement.get("Resource", statement.get("NotResource", "*"))), call.resource)
    return action == ("Action" in statement) and resource == ("NotResource" not in statement)


def _conditions_hold(statement: Document, call: ServiceCall, *, unknown: bool) -> bool:
    """Whether every condition holds. `unknown`: what is taken of an operator that is not known here."""
    conditions = statement.get("Condition") or {}
    if not isinstance(conditions, dict):
        return unknown
    return all(
        _holds(operator, call.keys.get(str(key).lower()), _listed(values), unknown=unknown)
        for operator, pairs in conditions.items()
        if isinstance(pairs, dict)
        for key, values in pairs.items()
    )


def _holds(operator: str, found: str | None, values: list[str], *, unknown: bool) -> bool:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html."""
    name = operator.lower()
    if name == "null":
        return (found is None) == ("true" in map(str.lower, values))
    if_exists, name = name.endswith("ifexists"), name.removesuffix("ifexists")
    negated, name = "not" in name, name.replace("not", "")
    if name not in _COMPARISONS:
        return unknown
    if found is None:
        return if_exists or negated
    return any(_COMPARISONS[name](value, found) for value in values) != negated


def _matches(pattern: str, text: str) -> bool:
    """By IAM's wildcards: * for any characters, ? for one. On some, a regular expression takes for ever."""
    at = read = 0
    star, since = -1, 0
    while read < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, since, at = at, read, at + 1
        elif at < len(pattern) and pattern[at] in {"?", text[read]}:
            at, read = at + 1, read + 1
        elif star >= 0:  # the last star takes one character more
            since += 1
            at, read = star + 1, since
        else:
            return False
    return not pattern[at:].strip("*")


def _matches_arn(pattern: str, text: str) -> bool:
    """Part by part: a wildcard does not reach over a colon, but for that of the last part."""
    wanted, found = pattern.split(":", 5), text.split(":", 5)
    return len(wanted) == len(found) and all(map(_matches, wanted, found))


def _matches_any(patterns: Iterable[str], text: str, folded: Callable[[str], str] = str) -> bool:
    return any(_matches(folded(it), text) for it in patterns)


def _listed(value: Any) -> list[str]:
    """A value, or a list of them, as texts."""
    if value is None:
        return []
    return [_text(it) for it in value] if isinstance(value, list) else [_text(value)]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_COMPARISONS: Mapping[str, Callable[[str, str], bool]] = {
    "stringequals": str.__eq__,
    "stringequalsignorecase": lambda value, found: value.lower() == found.lower(),
    "stringlike": _matches,
    "arnequals": _matches_arn,
    "arnlike": _matches_arn,
    "bool": lambda value, found: value.lower() == found.lower(),
}
