"""What a shell completes: the names of the stack's secrets."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from mtlsctl.stack.account import DEFAULT_STACK, Account


def secret_names(context: typer.Context, incomplete: str) -> list[str]:
    """The stack's secrets whose name begins so, without the stack's own name in front. Never raises."""
    try:
        return _names(_account(context), incomplete)
    except Exception:  # noqa: BLE001 - a shell that waits for a name is no place for an error
        return []


def _account(context: typer.Context) -> Account:
    given: dict[str, Any] = {}
    at: Any = context
    while at is not None:
        given = {key: value for key, value in at.params.items() if value} | given
        at = at.parent
    stack = given.get("stack") or os.environ.get("MTLS_ROTATION_STACK") or DEFAULT_STACK
    return Account(stack, given.get("profile"), given.get("region"), given.get("endpoint_url"))


def _names(account: Account, incomplete: str) -> list[str]:
    from botocore.config import Config

    from mtlsctl.stack.deployment import Deployment

    prefix = f"{account.stack}/"
    quick = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1})  # the operator waits for it
    client = Deployment(account).session.client("secretsmanager", config=quick)
    begins = incomplete if incomplete.startswith(prefix) else f"{prefix}{incomplete}"
    answer = client.list_secrets(Filters=[{"Key": "name", "Values": [begins]}], MaxResults=100)
    names = [it["Name"] for it in answer["SecretList"] if it["Name"].startswith(begins)]
    return sorted(names if incomplete.startswith(prefix) else [it.removeprefix(prefix) for it in names])


SecretArgument = Annotated[
    str,
    typer.Argument(
        metavar="SECRET",
        help="Name or ARN of a secret of the stack; the stack's own name in front may be left out.",
        autocompletion=secret_names,
    ),
]
