"""Which statement of which policy allowed what: a line of JSON for each kind of use, if the environment asks for it.

The proof of least privilege reads the lines (``tests/proof/least_privilege/``). What decides is the emulator's; here
each statement is looked at alone, after the fact.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ministack.core import iam_evaluator

from localaws.iam import permissions

# A folder: each local AWS adds a file of its own.
DIRECTORY = "LOCALAWS_AUTHORIZATIONS"
# So many resources are recorded of one kind of use: enough to see which part of a pattern is used.
_EXAMPLES = 20


@dataclass
class _Decision:
    """What ``enforce`` evaluated first: the identity's policies, before a resource's own."""

    context: Any = None
    policies: Any = None


_deciding: ContextVar[_Decision | None] = ContextVar("localaws_deciding", default=None)


class Record:
    """The file. Each kind of use is written once, with each of the first resources that it was of."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, ...], set[str]] = {}

    def note(self, line: dict[str, Any], resource: str) -> None:
        """Write a line, unless the kind has it for this resource, or has enough resources."""
        kind = tuple(f"{name}={line[name]}" for name in sorted(line))
        with self._lock:
            resources = self._seen.setdefault(kind, set())
            if resource in resources or len(resources) >= _EXAMPLES:
                return
            resources.add(resource)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line | {"resource": resource}) + "\n")


_record: Record | None = None


def start_recording() -> None:
    """Record what is authorized from now on, if the environment names a folder for it."""
    global _record
    if directory := os.environ.get(DIRECTORY):
        Path(directory).mkdir(parents=True, exist_ok=True)
        _record = Record(Path(directory) / f"{os.getpid()}-{os.urandom(4).hex()}.jsonl")


def evaluate(emulated: Callable[..., Any], context: Any, policies: Any, *limits: Any) -> Any:
    """Decide as the emulator does, and keep what it was first asked for :func:`enforce`."""
    decision = _deciding.get()
    if decision is not None and decision.context is None:
        decision.context, decision.policies = context, policies
    return emulated(context, policies, *limits)


def enforce(
    emulated: Callable[..., Any],
    access_key: str,
    action: str,
    service: str,
    region: str,
    resource_arn: str = "*",
    service_context: dict[str, Any] | None = None,
) -> Any:
    """Decide as the emulator does, and note what was allowed to a role.

    An action that takes no resource is allowed by statements on ``*`` alone.

    Raises:
        permissions.UnknownCallError: AWS has no such action.
    """
    resource = resource_arn if permissions.action(action).resources else "*"
    decision = _Decision()
    token = _deciding.set(decision)
    try:
        refused = emulated(access_key, action, service, region, resource, service_context)
    finally:
        _deciding.reset(token)
    if refused is None and decision.context is not None:
        note_role(decision.context, decision.policies)
    return refused


def note_role(context: Any, policies: list[list[Any]]) -> None:
    """Note what a role was allowed, under each of its statements that allows it alone."""
    if _record is None or ":assumed-role/" not in context.principal_arn:
        return
    role = iam_evaluator._role_name_from_assumed_arn(context.principal_arn)
    names = _policy_names(role, context.principal_account)
    if len(names) != len(policies):
        return  # those that count are not yet those that there are
    allowing = [(name, it) for name, policy in zip(names, policies, strict=True) for it in _alone(context, policy)]
    for name, statement in allowing:
        line = {
            "role": role,
            "policy": name,
            "sid": statement.sid,
            "action": context.action,
            "patterns": _patterns(context, statement),
            "sole": len(allowing) == 1,
        }
        _record.note(line, context.resource_arn)


def note_service(service: str, source: str, context: Any, document: dict[str, Any]) -> None:
    """Note by which statements of a resource's policy a service was let in."""
    if _record is None:
        return
    for statement in document.get("Statement", []):
        alone = iam_evaluator.evaluate_resource_policy({"Statement": [statement]}, context, service=service)
        if alone.decision == "Allow":
            line = {"service": service, "sid": statement.get("Sid", ""), "action": context.action, "source": source}
            _record.note(line | {"condition": json.dumps(statement.get("Condition", {}))}, context.resource_arn)


def _policy_names(role: str, account: str) -> list[str]:
    """The policies that ``_gather_role_policies`` gives, by name, in its order."""
    from ministack.services import iam

    record = iam._roles.get_scoped(account, None, role) or {}
    own = [name for name, it in (record.get("InlinePolicies") or {}).items() if iam_evaluator.parse_policy_document(it)]
    attached = [
        arn
        for arn in record.get("AttachedPolicies", [])
        if iam_evaluator.parse_policy_document(iam_evaluator._resolve_managed_policy_document(arn, account) or {})
    ]
    return own + [arn.rpartition("/")[2] for arn in attached]


def _alone(context: Any, policy: Iterable[Any]) -> Iterator[Any]:
    return (it for it in policy if iam_evaluator._first_match(context, [it], "Allow"))


def _patterns(context: Any, statement: Any) -> list[str]:
    return [it for it in statement.resources if iam_evaluator.fnmatch_iam_cs(context.resource_arn, it)]
