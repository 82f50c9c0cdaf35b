"""The table of what each function's role may do, from `template.yaml`: `docs/security.md` holds it."""

from __future__ import annotations

import re
from typing import Any

from localaws.iam import reference
from tests.kit.template import (
    Statement,
    listed,
    parameters_of,
    resources,
    roles,
    statements,
    template,
)

# The ends of ARNs, in words. What stands in none of these lines is shown as the template has it.
PLACES = (
    (r"secret:\*$", "secrets"),
    (r":key/\*$", "KMS keys"),
    (r"event-bus/default$", "the default bus"),
    (r"::/domainnames/\$\{DomainName\}$", "the gateway's domain name"),
    (r"::/domainnames$", "the collection of domain names"),
    (r":parameter\$\{(\w+)\}$", r"the parameter `\1`"),
    (r"^\$\{Bucket\.Arn\}/\*$", "every object of the bucket"),
    (r"^\$\{Bucket\.Arn\}/(.*)$", r"`\1`"),
)
NAMES = {
    "Bucket": "the bucket",
    "AWS::StackId": "the stack",
    "PrivateCaArn": "that CA",
    "FurtherDomains": "those domain names",
    "Key": "the stack's key",
    "CaSecret": "the CA's secret",
    "ClientSecret": "the client's secret",
    "RotateFunction": "the rotate function",
    "SyncQueue": "the queue",
}
LIMITS = {
    ("aws:ResourceTag/mtls-rotation:stack", "AWS::StackName"): "that bear the stack's tag",
    ("aws:RequestTag/mtls-rotation:made-by", "AWS::StackName"): "if the request says that the stack makes it",
    ("aws:TagKeys", "['mtls-rotation:made-by'"): "sets no other tags than those of a CA's key",
    ("aws:ResourceTag/mtls-rotation:kind", "ca"): "are CAs' by their tag",
    ("aws:ResourceTag/mtls-rotation:proxy", "allowed"): "are marked for the proxy",
    ("s3:prefix", "anchors/managed/"): "under `anchors/managed/`",
    ("events:source", "mtls-rotation"): "with the source `mtls-rotation`",
    ("s3:prefix", "revocation/list.json"): "for `revocation/list.json` alone",
    ("kms:ViaService", "secretsmanager"): "through Secrets Manager alone",
    ("secretsmanager:ModifyRotationRules", "false"): "without another schedule",
    ("secretsmanager:RotateImmediately", "true"): "at once",
    ("secretsmanager:RotationLambdaARN", "['RotateFunction'"): "by the rotate function",
    ("secretsmanager:VersionStage", "AWSPENDING"): "for the label AWSPENDING alone",
}


def table() -> str:
    """A table for each role, one row for each statement, and which parameters the conditions in it depend on."""
    parts, conditions = [], set()
    for role in roles():
        of_role = resources()[role].get("Condition")
        conditions |= {it.when for it in statements(role)} | {of_role}
        parts += [f"`{role}`, for {_taker(role)}{f', if `{of_role}`' if of_role else ''}:", ""]
        parts += ["| statement | actions | on | if |", "| --- | --- | --- | --- |"]
        parts += [f"| AWS's policy `{name}` | | | |" for name in _policies_of_aws(role)]
        parts += [_row(statement, of_role) for statement in statements(role)]
        parts += [""]
    parts += [
        "The conditions, and the parameters that they depend on:",
        "",
        "| condition | parameters |",
        "| --- | --- |",
    ]
    for condition in template()["Conditions"]:
        if condition in conditions:
            parts += [f"| `{condition}` | {', '.join(f'`{it}`' for it in parameters_of(condition))} |"]
    return "\n".join([*parts, ""])


def _taker(role: str) -> str:
    """The service whose programs have a role."""
    (statement,) = resources()[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    return str(statement["Principal"]["Service"])


def _policies_of_aws(role: str) -> list[str]:
    """The names of the policies of AWS's own that a role has."""
    entries = resources()[role]["Properties"].get("ManagedPolicyArns", [])
    return [entry["Fn::Sub"].rpartition("/")[2] for entry in entries if "Fn::Sub" in entry]


def _row(statement: Statement, of_role: str | None) -> str:
    actions = ", ".join(f"`{action}`" for action in statement.actions)
    actions = f"never {actions}" if statement.body["Effect"] == "Deny" else actions
    when = f"`{statement.when}` " if statement.when and statement.when != of_role else ""
    return f"| `{statement.sid}` | {actions} | {_on(statement.body)} | {when}|"


def _on(body: dict[str, Any]) -> str:
    places = [place for it in listed(body["Resource"]) for place in ([_anywhere(body)] if it == "*" else _place(it))]
    tests = body.get("Condition", {})
    limits = [_limit(test, key, value) for test, of in tests.items() if test != "Null" for key, value in of.items()]
    return " ".join(filter(None, [", ".join(dict.fromkeys(places)), " and ".join(limits)]))


def _anywhere(body: dict[str, Any]) -> str:
    actions = map(reference.action, listed(body["Action"]))
    return "anything" if any(it and it.resources for it in actions) else "anything: the action takes no resource"


def _place(node: Any) -> list[str]:
    match node:
        case {"Ref": "AWS::NoValue"}:
            return []
        case {"Fn::If": [_, one, other]}:
            return _place(one) + _place(other)
        case {"Ref": name} | {"Fn::GetAtt": [name, *_]}:
            return [NAMES.get(name, "its log group" if name.endswith("Logs") else f"`{name}`")]
        case {"Fn::Sub": text}:
            for pattern, words in PLACES:
                if found := re.search(pattern, text):
                    return [found.expand(words)]
    return [f"`{node}`"]


def _limit(test: str, key: str, value: Any) -> str:
    wanted = next(iter(value.values())) if isinstance(value, dict) else value
    for (known, start), words in LIMITS.items():
        if key == known and str(wanted).startswith(start):
            return f"but for those {words}" if test == "StringNotEquals" else words
    return f"where `{key}` is `{wanted}`"
