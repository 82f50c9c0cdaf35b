"""What `template.yaml` grants, one by one: a role, a statement, an action, a place. And which service is let in where.

A place is a pattern of the template; what CloudFormation fills in is any text, so that the deployed pattern matches it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.kit.template import NO_VALUE, listed, resources, roles, statements

INVOKE, SEND = "lambda:InvokeFunction", "sqs:SendMessage"
_ANY = ".+"


@dataclass(frozen=True, order=True)
class Grant:
    """One thing that is allowed.

    Attributes:
        holder: the role's logical id; or the function or queue that a service is let in to.
        policy: the policy of the role; or the service.
        sid: the statement; or the permission's logical id.
        action: with its service.
        place: the resource as the template has it; or on whose behalf the service is let in.
        pattern: what the deployed place looks like.
    """

    holder: str
    policy: str
    sid: str
    action: str
    place: str
    pattern: str

    def __str__(self) -> str:
        return f"{self.holder}, {self.policy}, {self.sid}: {self.action} on {self.place}"


@cache
def grants() -> tuple[Grant, ...]:
    """Every one of them."""
    found = [grant for role in roles() for grant in _of_role(role)]
    return tuple(sorted({*found, *_permissions(), *_events_of_functions(), *_queues_and_topics()}))


# -- roles


def _of_role(role: str) -> Iterator[Grant]:
    for it in statements(role):
        if it.body["Effect"] == "Allow":
            for action in it.actions:
                for place in places(it.body["Resource"]):
                    yield Grant(role, it.policy, it.sid, action, shown(place), deployed(place))


def places(node: Any) -> Iterator[Any]:
    """The resources of a statement, whatever condition they are under."""
    for it in listed(node):
        if isinstance(it, dict) and "Fn::If" in it:
            yield from places(it["Fn::If"][1:])
        elif it != NO_VALUE:
            yield it


# -- who lets services in


def _permissions() -> Iterator[Grant]:
    for name, it in resources().items():
        if it["Type"] == "AWS::Lambda::Permission":
            of = it["Properties"]
            function, _ = of["FunctionName"]["Fn::GetAtt"]
            source = of.get("SourceArn")
            place, pattern = (shown(source), deployed(source)) if source else ("this account", r"arn:aws:.+:\d{12}:.+")
            yield Grant(function, of["Principal"], name, of["Action"], place, pattern)


def _events_of_functions() -> Iterator[Grant]:
    """SAM makes the permission for a function's events, each for the one rule."""
    for name, it in resources().items():
        for event, of in it.get("Properties", {}).get("Events", {}).items():
            if it["Type"] == "AWS::Serverless::Function" and of["Type"] in {"EventBridgeRule", "Schedule"}:
                sid = f"{name}{event}Permission"
                yield Grant(name, "events.amazonaws.com", sid, INVOKE, "its rule", rf".+:rule/.*{name}{event}(-.*)?")


def _queues_and_topics() -> Iterator[Grant]:
    for it in resources().values():
        if it["Type"] not in {"AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"}:
            continue
        for statement in it["Properties"]["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Allow":
                place = shown(statement["Resource"])[2:-1].partition(".")[0]
                service, action = statement["Principal"]["Service"], statement["Action"]
                for source in _sources(statement["Condition"]):
                    yield Grant(place, service, statement["Sid"], action, shown(source), deployed(source))


def _sources(condition: dict[str, dict[str, Any]]) -> list[Any]:
    """On whose behalf a service is let in."""
    (sources,) = [of["aws:SourceArn"] for of in condition.values() if "aws:SourceArn" in of]
    return list(listed(sources))


# -- places


def shown(node: Any) -> str:
    """A place in words: the template's own text."""
    match node:
        case str():
            return node
        case {"Fn::Sub": text}:
            return str(text)
        case {"Ref": name}:
            return f"${{{name}}}"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"${{{name}.{attribute}}}"
    raise ValueError(f"a place that no statement of ours has had so far: {node}")


def deployed(node: Any) -> str:
    """A regular expression for what CloudFormation makes of a place."""
    parts = re.split(r"(\$\{[^}]+\})", shown(node))
    return "".join(_filled_in(it[2:-1]) if it.startswith("${") else re.escape(it) for it in parts)


@cache
def _filled_in(reference: str) -> str:
    name, _, attribute = reference.partition(".")
    kind = resources().get(name, {}).get("Type")
    if kind == "AWS::SecretsManager::Secret":
        end = resources()[name]["Properties"]["Name"]["Fn::Sub"].rpartition("/")[2]
        return rf"arn:aws:secretsmanager:[^:]+:\d+:secret:[^/]+/{end}-\w+"
    if kind == "AWS::S3::Bucket":
        return r"arn:aws:s3:::[^/]+" if attribute else "[^/]+"
    if kind in {"AWS::Events::Rule", "AWS::Serverless::Function", "AWS::SQS::Queue", "AWS::Logs::LogGroup"}:
        return rf"arn:aws:[^:]+:[^:]+:\d+:.*{name}(-.*)?(:\*)?"
    if kind == "AWS::Serverless::Api":
        return r"\w+"
    return {"AWS::Partition": "aws", "AWS::Region": r"[a-z0-9-]+", "AWS::AccountId": r"\d{12}"}.get(reference, _ANY)
