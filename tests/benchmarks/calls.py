"""The AWS calls of a rotation, by step and operation: exact, and the bill.

    python -m tests.benchmarks.calls

The CA is trusted by the gateway already. Twice for each issuer: with one execution environment for all four steps, as
Lambda has it unless several secrets rotate at once; and with one for each step, which is the most that it can cost.
Self-signed certificates are not counted, as each is an anchor that has yet to be deployed; nor are external ones, which
wait for people.

Beside them stands the structure of AWS's rotation template, which stores a value, and whose steps set and test are
empty.

https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_available-rotation-templates.html
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from moto import mock_aws
from rich.console import Console
from rich.table import Table

from mtls_rotation.rotation.memory import Memory
from mtls_rotation.rotation.request import Step
from tests.benchmarks.figures import Results
from tests.kit import builders
from tests.kit.stack import CA, CLIENT, Mocked, Stack
from tests.unit.proof.private_ca import authority

# What all four steps may make, with the CA trusted already. One of them files AWSCURRENT anew, as it may be lost in the
# bucket: see `rotation.filing.note_held`.
LIMIT = 13
WARM, COLD = "in one environment", "each step in its own"
TEMPLATE = "AWS's rotation template, empty"


def measure() -> Results:
    """The counts, and which of them are to stay within the limit."""
    steps = {_name(issuer, how): count(issuer, warm=how == WARM) for issuer in ISSUERS for how in (WARM, COLD)}
    steps[TEMPLATE] = template()
    return Results(
        calls={name: total(it) for name, it in steps.items()},
        limits={_name(issuer, WARM): LIMIT for issuer in ("secretsmanager",)},
        details={"rotation_calls": steps},
    )


def _name(issuer: str, how: str) -> str:
    return f"a rotation, {issuer}, {how}"


def count(issuer: str = "secretsmanager", *, warm: bool = False) -> dict[str, dict[str, int]]:
    """Step → operation → calls, for a client secret whose CA the gateway trusts already.

    Args:
        issuer: a key of `ISSUERS`.
        warm: whether one execution environment, which has seen other rotations, runs all steps.
    """
    with _stack() as (stack, made):
        ISSUERS[issuer](stack)
        stack.rotate()  # so that its CA is known
        stack.reconcile()
        stack.with_gateway()
        stack.memory = Memory() if warm else None
        stack.rotate()
        token, steps = stack.begin(), {}
        for step in Step:
            made.clear()
            stack.step(step, token)
            steps[step.value] = dict(sorted(made.items()))
    return steps


def template() -> dict[str, dict[str, int]]:
    """The same of AWS's template, with a value that is made up."""
    with _stack() as (stack, made):
        stack.add_secret(CLIENT, builders.client_definition())
        secrets, token, steps = stack.clients.secretsmanager, str(uuid.uuid4()), {}
        stack.secrets.stage(CLIENT, token)
        for step in Step:
            made.clear()
            as_the_template(secrets, step, CLIENT, token)
            steps[step.value] = dict(sorted(made.items()))
    return steps


def as_the_template(secrets: Any, step: Step, secret: str, token: str) -> None:
    """Each step looks whether it is its turn; a value is made where there is none, and made current."""
    stages = secrets.describe_secret(SecretId=secret)["VersionIdsToStages"]
    if step is Step.CREATE:
        secrets.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")
        try:
            secrets.get_secret_value(SecretId=secret, VersionId=token, VersionStage="AWSPENDING")
        except secrets.exceptions.ResourceNotFoundException:
            made = secrets.get_random_password()["RandomPassword"]
            secrets.put_secret_value(
                SecretId=secret, ClientRequestToken=token, SecretString=made, VersionStages=["AWSPENDING"]
            )
    if step is Step.FINISH:
        secrets.describe_secret(SecretId=secret)
        current = next(version for version, labels in stages.items() if "AWSCURRENT" in labels)
        secrets.update_secret_version_stage(
            SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current
        )


def total(steps: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Operation → calls, of all steps together."""
    together: Counter[str] = Counter()
    for made in steps.values():
        together.update(made)
    return dict(sorted(together.items()))


# what is rotated ------------------------------------------------------------------------------------------------------


def _by_a_secret(stack: Stack) -> None:
    stack.add_ca(builders.root())
    stack.add_secret(CLIENT, builders.client_definition())


def _by_kms(stack: Stack) -> None:
    stack.add_secret(CA, builders.ca_definition(issuer={"type": "kms"}))
    stack.rotate(CA)
    stack.add_secret(CLIENT, builders.client_definition(issuer={"type": "kms", "ca_secret": CA}))


def _by_private_ca(stack: Stack) -> None:
    issuer = {"type": "acm-pca", "certificate_authority_arn": authority(stack)}
    stack.add_secret(CLIENT, builders.client_definition(issuer=issuer))
    stack.now = datetime.now(UTC) + timedelta(seconds=2)  # moto's CA is as old as this


ISSUERS: dict[str, Callable[[Stack], None]] = {
    "secretsmanager": _by_a_secret,
    "kms": _by_kms,
    "acm-pca": _by_private_ca,
}


@contextmanager
def _stack() -> Iterator[tuple[Stack, Counter[str]]]:
    """A stack, and what is called, by operation."""
    made: Counter[str] = Counter()
    session = boto3.Session("bench", "test", region_name="us-east-1")
    names = ("secretsmanager", "s3", "events", "sqs", "kms", "acm_pca")
    clients = {name: session.client(name.replace("_", "-")) for name in names}  # type: ignore[call-overload]
    with mock_aws():
        stack = Stack(Mocked(**clients))
        stack.create()
        for name, client in clients.items():
            client.meta.events.register("before-call", _recorder(made, name))
        _count_gateway(stack, made)
        yield stack, made


def _recorder(made: Counter[str], service: str) -> Any:
    def record(model: Any, **_: Any) -> None:
        made[f"{service}:{model.name}"] += 1

    return record


def _count_gateway(stack: Stack, made: Counter[str]) -> None:
    """API Gateway is a fake here, which boto3's events do not see."""
    gateway: Any = stack.gateway
    get_domain_name = gateway.get_domain_name

    def counted(**request: Any) -> Any:
        made["apigateway:GetDomainName"] += 1
        return get_domain_name(**request)

    gateway.get_domain_name = counted


def table(results: Results) -> Table:
    """The counts, a row for each step of each rotation."""
    made = Table("rotation", "step", "calls", "of what")
    for name, steps in results.details["rotation_calls"].items():
        for step, calls in steps.items():
            made.add_row(name, step, str(sum(calls.values())), ", ".join(f"{n} {it}" for it, n in calls.items()))
        made.add_row(name, "all", str(sum(results.calls[name].values())), "", end_section=True)
    return made


if __name__ == "__main__":
    Console().print(table(measure()))
