"""What a shell completes: the names of the stack's secrets."""

from __future__ import annotations

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
    """Where the command would act, by the same rule: an option counts for more than a variable, the last one most."""
    from mtlsctl.frame.command import given_in

    contexts: list[Any] = [context]
    while contexts[0].parent is not None:
        contexts.insert(0, contexts[0].parent)
    chosen = given_in(contexts[0], None)
    for it in contexts[1:]:
        chosen = given_in(it, chosen)
    return Account(chosen.stack or DEFAULT_STACK, chosen.profile, chosen.region, chosen.endpoint_url)


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


_SECRET: Any = typer.Argument(
    metavar="SECRET",
    help="Name or ARN of a secret of the stack; the stack's own name in front may be left out.",
    autocompletion=secret_names,
    show_default=False,
)
SecretArgument = Annotated[str, _SECRET]
OptionalSecretArgument = Annotated[str | None, _SECRET]
