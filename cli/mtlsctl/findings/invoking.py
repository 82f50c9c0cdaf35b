"""Who may invoke a function, by its policy, and the command that lets a service in."""

from __future__ import annotations

import json
from shlex import quote
from typing import TYPE_CHECKING

from mtlsctl.stack.policies import parsed, statements

if TYPE_CHECKING:
    from mtlsctl.findings import DoctorContext
    from mtlsctl.stack.policies import Document, ServiceCall

INVOKE = "lambda:InvokeFunction"


def policy_of(context: DoctorContext, function: str) -> Document:
    """A function's policy; one without statements where it has none."""
    functions = context.client("lambda")
    try:
        return parsed(functions.get_policy(FunctionName=function)["Policy"])
    except functions.exceptions.ResourceNotFoundException:
        return {}


def let_in(function: str, policy: Document, sid: str, call: ServiceCall, *, by_account: bool = False) -> str:
    """The command that lets a service invoke a function."""
    name = f"--function-name {function} --statement-id {sid}"
    source = f"--source-account {call.resource.split(':')[4]}" if by_account else f"--source-arn {quote(call.source)}"
    add = f"aws lambda add-permission {name} --action {INVOKE} --principal {call.service} {source}"
    taken = any(it.get("Sid") == sid for it in statements(policy))
    return f"aws lambda remove-permission {name} && {add}" if taken else add


def option(name: str, value: object) -> str:
    """An option of the AWS CLI with JSON for its value, as a shell takes it."""
    return f"--{name} {quote(json.dumps(value))}"
