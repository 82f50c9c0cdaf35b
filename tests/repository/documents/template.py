"""`template.yaml`, as the documents' tables look at it: its resources, its conditions, and what each role may do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import cfnlint.decode.cfn_yaml  # type: ignore[import-untyped]

from tests.repository.documents import ROOT

POLICIES = {"AWS::IAM::ManagedPolicy", "AWS::IAM::Policy"}


@cache
def template() -> dict[str, Any]:
    """The template, its short forms of functions written out."""
    loaded: dict[str, Any] = json.loads(json.dumps(cfnlint.decode.cfn_yaml.load(str(ROOT / "template.yaml"))))
    return loaded


def resources() -> dict[str, Any]:
    """Logical id → resource."""
    found: dict[str, Any] = template()["Resources"]
    return found


def holds(condition: str | None, parameters: Mapping[str, str] | None = None) -> bool:
    """Whether a condition holds with these parameters, and with the defaults for all others."""
    if condition is None:
        return True
    given = {name: str(it["Default"]) for name, it in template()["Parameters"].items()} | dict(parameters or {})

    def of(node: Any) -> Any:
        match node:
            case {"Ref": name}:
                return given[name]
            case {"Condition": name}:
                return of(template()["Conditions"][name])
            case {"Fn::Equals": [one, other]}:
                return of(one) == of(other)
            case {"Fn::Not": [one]}:
                return not of(one)
            case {"Fn::And": several}:
                return all(of(it) for it in several)
            case {"Fn::Or": several}:
                return any(of(it) for it in several)
            case {"Fn::Join": [_, value]}:
                return of(value)
            case str():
                return node
            case _:
                raise AssertionError(f"a function that no condition of ours has used so far: {node}")

    return bool(of({"Condition": condition}))


@dataclass(frozen=True)
class Statement:
    """A statement of a role's policies.

    Attributes:
        when: the template's condition under which it is there; None if always.
        body: the statement.
    """

    when: str | None
    body: dict[str, Any]

    @property
    def sid(self) -> str:
        return str(self.body["Sid"])

    @property
    def actions(self) -> list[str]:
        return list(listed(self.body["Action"]))


def listed(value: Any) -> list[Any]:
    """A value that may be one or several."""
    return value if isinstance(value, list) else [value]


def roles() -> list[str]:
    """The logical ids of the roles."""
    return [name for name, it in resources().items() if it["Type"] == "AWS::IAM::Role"]


def taker(role: str) -> str:
    """The service whose programs have a role."""
    (statement,) = resources()[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    return str(statement["Principal"]["Service"])


def policies_of_aws(role: str) -> list[str]:
    """The names of the policies of AWS's own that a role has."""
    entries = resources()[role]["Properties"].get("ManagedPolicyArns", [])
    return [entry["Fn::Sub"].rpartition("/")[2] for entry in entries if "Fn::Sub" in entry]


def parameters_of(condition: str) -> list[str]:
    """The parameters that a condition hangs on, in the template's order."""

    def names(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if "Ref" in node:
                yield node["Ref"]
            if "Condition" in node:
                yield from names(template()["Conditions"][node["Condition"]])
            for value in node.values():
                yield from names(value)
        elif isinstance(node, list):
            for value in node:
                yield from names(value)

    found = set(names({"Condition": condition}))
    return [name for name in template()["Parameters"] if name in found]


def statements(role: str) -> list[Statement]:
    """What a role may do: by its own policies, by those that it names, and by those that name it."""
    own = resources()[role]["Properties"]
    found: list[Statement] = []
    for policy in own.get("Policies", []):
        found += _flat(policy["PolicyDocument"]["Statement"], None)
    for entry in own.get("ManagedPolicyArns", []):
        if "Ref" in entry:
            found += _attached(entry["Ref"])
    for name, it in resources().items():
        if it["Type"] in POLICIES and {"Ref": role} in it["Properties"].get("Roles", []):
            found += _attached(name)
    return found


def _attached(name: str) -> list[Statement]:
    it = resources()[name]
    return list(_flat(it["Properties"]["PolicyDocument"]["Statement"], it.get("Condition")))


def _flat(entries: list[dict[str, Any]], when: str | None) -> Iterator[Statement]:
    for entry in entries:
        match entry:
            case {"Fn::If": [condition, body, {"Ref": "AWS::NoValue"}]} if when is None:
                yield Statement(condition, body)
            case {"Fn::If": _}:
                raise AssertionError(f"a statement with two sides, or under two conditions: {entry}")
            case _:
                yield Statement(when, entry)
