"""What a role that is bound to a tag is told of a secret that is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from acceptance.ledger import RUN_TAG
from acceptance.probes.api import Answer, Probe

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene


def _ask(run: Run, _: Scene) -> Answer:
    role = run.make_role(
        "missing",
        {
            "Effect": "Allow",
            "Action": "secretsmanager:DescribeSecret",
            "Resource": "*",
            "Condition": {"StringEquals": {f"aws:ResourceTag/{RUN_TAG}": run.name}},
        },
    )
    there = run.make_secret("there", "a value")
    client = run.assumed(role)("secretsmanager")
    run.waiting.until(lambda: not _said(client, there), "the role may see the secret", run.account.pace.lag)
    said = _said(client, f"{run.name}-is-not-there")
    return Answer(said or "found", f"of one that is there: {_said(client, there) or 'described'}")


def _said(client: Any, secret: str) -> str:
    """What describing it is refused with; empty if it is not."""
    try:
        client.describe_secret(SecretId=secret)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


PROBE = Probe(
    name="access-denied-for-a-missing-secret",
    question="What is a role told of a secret that is not there, if it may see those with a tag?",
    source="https://docs.aws.amazon.com/secretsmanager/latest/userguide/auth-and-access-abac.html",
    how="A role that is bound to the run's tag describes a secret that has it, and one that nobody has made.",
    readings={
        "AccessDeniedException": "what is not there has no tag",
        "ResourceNotFoundException": "that it is not there",
    },
    expected="AccessDeniedException",
    ask=_ask,
    certain=True,
    promise=True,
)
