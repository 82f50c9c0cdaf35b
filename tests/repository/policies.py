"""Every statement of every policy in the repository, as IAM would be given it; and what AWS's reference says of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from localaws.iam import reference
from localaws.iam.reference import Action, ResourceType
from tests.kit.template import NO_VALUE, listed, load, resources

ROOT = Path(__file__).parents[2]
TEMPLATES = (ROOT / "template.yaml", ROOT / "examples" / "lambda" / "template.yaml")
_ACCOUNT, _REGION = "123456789012", "us-east-1"
# What CloudFormation makes of references, about.
_PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": _REGION,
    "AWS::AccountId": _ACCOUNT,
    "AWS::StackName": "stack",
    "AWS::StackId": f"arn:aws:cloudformation:{_REGION}:{_ACCOUNT}:stack/stack/11112222",
    "AWS::URLSuffix": "amazonaws.com",
}
_PARAMETERS = {
    "FurtherDomains": f"arn:aws:apigateway:{_REGION}::/domainnames/orders.example.com",
    "PrivateCaArn": f"arn:aws:acm-pca:{_REGION}:{_ACCOUNT}:certificate-authority/11112222",
    "AllowListParameter": "/mtls/allow-list",
    "ProxyRoutesParameter": "/mtls/routes",
    "ClientSecret": f"arn:aws:secretsmanager:{_REGION}:{_ACCOUNT}:secret:stack/client-a1b2c3",
    "KeyArn": f"arn:aws:kms:{_REGION}:{_ACCOUNT}:key/11112222-3333-4444-5555-666677778888",
}
_ARNS = {
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
    "AWS::Events::Rule": f"arn:aws:events:{_REGION}:{_ACCOUNT}:rule/{{name}}",
    "AWS::IAM::Role": f"arn:aws:iam::{_ACCOUNT}:role/{{name}}",
    "AWS::KMS::Key": f"arn:aws:kms:{_REGION}:{_ACCOUNT}:key/11112222-3333-4444-5555-666677778888",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{_REGION}:{_ACCOUNT}:log-group:{{name}}:*",
    "AWS::SNS::Topic": f"arn:aws:sns:{_REGION}:{_ACCOUNT}:{{name}}",
    "AWS::SQS::Queue": f"arn:aws:sqs:{_REGION}:{_ACCOUNT}:{{name}}",
    "AWS::SecretsManager::Secret": f"arn:aws:secretsmanager:{_REGION}:{_ACCOUNT}:secret:{{name}}-a1b2c3",
    "AWS::Serverless::Function": f"arn:aws:lambda:{_REGION}:{_ACCOUNT}:function:{{name}}",
}
# Keys that only an identity provider knows have its name.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html
# A trial of an authorizer is a POST on the authorizer itself, which the reference leaves out.
# https://docs.aws.amazon.com/apigateway/latest/api/API_TestInvokeAuthorizer.html
_TRIAL = ("apigateway:POST", re.compile(r"arn:aws:apigateway:[a-z0-9-]+::/restapis/[^/]+/authorizers/.+"))
_FEDERATED = re.compile(r"oidc\.eks\.[^:]+:(aud|sub)")


@dataclass(frozen=True)
class Stated:
    """A statement.

    Attributes:
        where: the file, and the resource or place in it.
        body: the statement, with values in place of the template's references.
        own: it stands in the resource that it is about, or lets a role be assumed.
    """

    where: str
    body: dict[str, Any]
    own: bool

    def __str__(self) -> str:
        return f"{self.where}: {self.body.get('Sid', self.body['Effect'])}"


# -- all there are


@cache
def statements() -> tuple[Stated, ...]:
    """Every one of the templates, the examples and the documents."""
    return (*_of_templates(), *_of_examples(), *_of_documents())


def _of_templates() -> Iterator[Stated]:
    for path in TEMPLATES:
        for name, it in load(path)["Resources"].items():
            yield from _found(it, f"{path.relative_to(ROOT)}, {name}", it["Type"])
            if it["Type"] == "AWS::Lambda::Permission":
                of = it["Properties"]
                keys = {"aws:SourceArn": of.get("SourceArn"), "aws:SourceAccount": of.get("SourceAccount")}
                body = {
                    "Effect": "Allow",
                    "Action": of["Action"],
                    "Resource": of["FunctionName"],
                    "Condition": {"StringEquals": {key: value for key, value in keys.items() if value}},
                }
                yield Stated(f"{path.relative_to(ROOT)}, {name}", filled_in(body), own=False)


def _found(node: Any, where: str, kind: str) -> Iterator[Stated]:
    """The statements in a resource, however deep; those under a condition as well."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "Statement":
                own = not kind.startswith("AWS::IAM::")
                for body in _decided(value):
                    trust = body["Action"] in ("sts:AssumeRole", "sts:AssumeRoleWithWebIdentity")
                    yield Stated(where, filled_in(body), own or trust)
            else:
                yield from _found(value, where, kind)
    elif isinstance(node, list):
        for value in node:
            yield from _found(value, where, kind)


def _decided(entries: list[Any]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        match entry:
            case {"Fn::If": [_, *sides]}:
                yield from (side for side in sides if side != NO_VALUE)
            case _:
                yield entry


def _of_examples() -> Iterator[Stated]:
    for path in sorted((ROOT / "examples").rglob("*policy*.json")):
        document = json.loads(path.read_text())
        yield from _found(document, str(path.relative_to(ROOT)), _kind(path.name))


def _kind(name: str) -> str:
    return "" if name.startswith("trust-") else "AWS::IAM::Policy"


def _of_documents() -> Iterator[Stated]:
    for path in sorted((ROOT / "docs").rglob("*.md")):
        for block in re.findall(r"^```json\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE):
            if '"Statement"' in block:
                written = block.replace("REGION", _REGION).replace("ACCOUNT", _ACCOUNT)
                yield from _found(json.loads(written), str(path.relative_to(ROOT)), "AWS::IAM::Policy")


# -- values in place of references


def filled_in(node: Any) -> Any:
    """A part of the template with values in place of its references."""
    match node:
        case {"Fn::Sub": str(text)}:
            return re.sub(r"\$\{([^}]+)\}", lambda it: _value(it[1]), text)
        case {"Ref": str(name)}:
            return _value(name)
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return _value(f"{name}.{attribute}")
        case {"Fn::If": [_, *sides]}:
            return next(filled_in(side) for side in sides if side != NO_VALUE)
        case dict():
            return {key: filled_in(value) for key, value in node.items()}
        case list():
            return [filled_in(value) for value in node if value != NO_VALUE]
    return node


def _value(reference: str) -> str:
    name, _, attribute = reference.partition(".")
    if known := _PSEUDO.get(reference) or _PARAMETERS.get(reference):
        return known
    kind = resources().get(name, {}).get("Type", "")
    by_ref = {"AWS::SNS::Topic", "AWS::SecretsManager::Secret"}
    if kind in _ARNS and (attribute == "Arn" or kind in by_ref):
        return _ARNS[kind].format(name=name.lower())
    if name == "Logs":
        return _ARNS["AWS::Logs::LogGroup"].format(name=name)
    return name.lower()


# -- against the reference


def faults(it: Stated, *, anywhere: frozenset[str] = frozenset()) -> Iterator[str]:
    """Everything in a statement that the reference does not know.

    Args:
        it: the statement.
        anywhere: actions that may stand on ``*`` though they take a resource.
    """
    places = [str(place) for place in listed(it.body.get("Resource", []))]
    matched: dict[str, tuple[ResourceType, ...]] = {}
    for name in map(str, listed(it.body["Action"])):
        if name.endswith(":*"):
            continue  # every action of a service: a Deny, or a resource's own policy
        action = reference.action(name)
        if action is None or action.name != name:
            yield f"{it}: {name} is no action of AWS's"
            continue
        on = places if not it.own else [place for place in places if place != "*"]
        matched[name] = tuple(kind for place in on for kind in _kinds(action, place))
        yield from (f"{it}: {name} {problem}" for problem in _misplaced(action, on, name in anywhere))
        yield from (
            f"{it}: {name} knows no condition key {key}"
            for test in it.body.get("Condition", {}).values()
            for key in test
            if not action.knows(key, matched[name]) and not _FEDERATED.fullmatch(key)
        )


def _misplaced(action: Action, places: list[str], anywhere: bool) -> Iterator[str]:
    for place in places:
        if place == "*":
            if action.resources and not anywhere:
                yield f"takes a resource: {', '.join(it.name for it in action.resources)}"
        elif not action.resources:
            yield f"takes no resource, and so not {place}"
        elif not _kinds(action, place) and not (action.name == _TRIAL[0] and _TRIAL[1].fullmatch(place)):
            yield f"does not take {place}"


def _kinds(action: Action, place: str) -> tuple[ResourceType, ...]:
    """The types, among those that the action takes, of what a pattern matches."""
    if place == "*":
        return action.resources
    # A log group's ARN ends with `:*`, which its streams match.
    return action.taken(place) or action.taken(re.sub(r":\*$", ":log-stream:any", place))
