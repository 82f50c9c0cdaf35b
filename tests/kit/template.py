"""The one reader of the templates: plain values, conditions, and what each role of `template.yaml` may do.

What it hands out is read once for a process, and shared: nobody changes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cfnlint.decode.cfn_yaml  # type: ignore[import-untyped]

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"
NO_VALUE = {"Ref": "AWS::NoValue"}
POLICIES = {"AWS::IAM::ManagedPolicy", "AWS::IAM::Policy"}


@cache
def load(path: Path) -> dict[str, Any]:
    """A template as plain values: anchors and merges resolved, the short forms of functions (`!Ref`) written out."""
    found: dict[str, Any] = json.loads(json.dumps(cfnlint.decode.cfn_yaml.load(str(path))))
    return found


def template() -> dict[str, Any]:
    """`template.yaml`."""
    return load(TEMPLATE)


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


def parameters_of(condition: str) -> list[str]:
    """The parameters that decide a condition, in the template's order."""

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


def listed(value: Any) -> list[Any]:
    """A value that may be one or several."""
    return value if isinstance(value, list) else [value]


# -- permissions


@dataclass(frozen=True)
class Statement:
    """A statement of a role's policies.

    Attributes:
        policy: the policy that it stands in: its name; or, of a managed policy, the logical id.
        when: the template's condition under which it is there; None if always.
        body: the statement.
    """

    policy: str
    when: str | None
    body: dict[str, Any]

    @property
    def sid(self) -> str:
        return str(self.body["Sid"])

    @property
    def actions(self) -> list[str]:
        return list(listed(self.body["Action"]))


def roles() -> list[str]:
    """The logical ids of the roles."""
    return [name for name, it in resources().items() if it["Type"] == "AWS::IAM::Role"]


def role_of(function: str) -> str:
    """The logical id of a function's role, which may stand at the head of a list of what the function waits for."""
    properties = resources()[function]["Properties"]
    match properties.get("Role"):
        case {"Fn::GetAtt": [str(role), "Arn"]} if "Policies" not in properties:
            return role
        case {"Fn::Select": [0, [{"Fn::GetAtt": [str(role), "Arn"]}, *_]]} if "Policies" not in properties:
            return role
    raise AssertionError(f"{function} gets its permissions in a way that no function of ours has so far")


def statements(role: str) -> list[Statement]:
    """What a role may do: by its own policies, by those that it names, and by those that name it."""
    own = resources()[role]["Properties"]
    found: list[Statement] = []
    for policy in own.get("Policies", []):
        found += _flat(policy["PolicyName"], policy["PolicyDocument"], None)
    for entry in own.get("ManagedPolicyArns", []):
        match entry:
            case {"Ref": str(name)}:
                found += _of_policy(name)
            case {"Fn::Sub": str(arn)} if "::aws:policy/" in arn:
                pass  # AWS's own, whose statements stand in no template
            case _:
                raise AssertionError(f"a way to name a policy that no role of ours has used so far: {entry}")
    for name in policies():
        if role in named_by(name):
            found += _of_policy(name)
    return found


def policies() -> list[str]:
    """The logical ids of the policies that stand beside roles."""
    others = [name for name, it in resources().items() if it["Type"].startswith("AWS::IAM::")]
    found = [name for name in others if resources()[name]["Type"] in POLICIES]
    assert {*found, *roles()} == {*others}, "a kind of policy that the template has not had so far"
    return found


def named_by(policy: str) -> list[str]:
    """The roles that a policy names itself."""
    entries = resources()[policy]["Properties"].get("Roles", [])
    assert isinstance(entries, list), f"{policy}: roles under a condition, which no policy of ours has so far"
    assert all(set(it) == {"Ref"} for it in entries), f"{policy}: a way to name a role that is new here"
    return [it["Ref"] for it in entries]


def _of_policy(name: str) -> Iterator[Statement]:
    it = resources()[name]
    return _flat(it["Properties"].get("PolicyName", name), it["Properties"]["PolicyDocument"], it.get("Condition"))


def _flat(policy: str, document: dict[str, Any], when: str | None) -> Iterator[Statement]:
    for entry in document["Statement"]:
        match entry:
            case {"Fn::If": [condition, body, {"Ref": "AWS::NoValue"}]} if when is None or _implies(condition, when):
                yield Statement(policy, condition, body)
            case {"Fn::If": _}:
                raise AssertionError(f"a statement with two sides, or under two conditions: {entry}")
            case _:
                yield Statement(policy, when, entry)


def _implies(condition: str, other: str) -> bool:
    """Whether the other condition holds wherever the one does, being one of several that it takes."""
    return {"Condition": condition} in template()["Conditions"][other].get("Fn::Or", [])
