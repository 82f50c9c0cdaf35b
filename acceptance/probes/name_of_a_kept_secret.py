"""A secret under a name that is taken, or that waits for its deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from acceptance.probes.api import Answer, Probe

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene


def _ask(run: Run, _: Scene) -> Answer:
    secret = run.make_secret("kept", "a value")
    taken = _made_again(run)
    run.account.clients.secrets.delete_secret(SecretId=secret, RecoveryWindowInDays=7)
    deleted = _made_again(run)
    detail = f"taken: {taken or 'made'}; deleted with recovery: {deleted or 'made'}"
    return Answer("refused" if taken and deleted else "made anew", detail)


def _made_again(run: Run) -> str:
    """What making it once more is refused with; empty if it is not."""
    try:
        run.make_secret("kept", "another value")
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


PROBE = Probe(
    name="name-of-a-kept-secret",
    question="Can a secret be made under a name that exists, or that waits for its deletion?",
    source="https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html",
    how="A secret is made twice, deleted with recovery, and made again.",
    readings={"refused": "in both cases", "made anew": "in one of them"},
    expected="refused",
    ask=_ask,
    certain=True,
)
