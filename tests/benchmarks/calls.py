"""The AWS calls of a rotation, by step: what each costs, and the bill."""

from collections import Counter
from typing import Any

import boto3
from moto import mock_aws

from mtls_rotation.step import Step
from tests import builders
from tests.unit.stack import CLIENT, Clients, Stack


def count() -> dict[str, dict[str, int]]:
    """Step → operation → calls, for a client secret whose CA the gateway trusts already."""
    made: Counter[str] = Counter()
    session = boto3.Session("bench", "test", region_name="us-east-1")
    names = ("secretsmanager", "s3", "events", "sqs", "kms", "acm_pca")
    clients = {name: session.client(name.replace("_", "-")) for name in names}  # type: ignore[call-overload]
    with mock_aws():
        stack = Stack(Clients(**clients))
        stack.create()
        stack.add_ca(builders.root())
        stack.add_secret(CLIENT, builders.client_definition())
        stack.reconcile()
        stack.with_gateway()
        for name, client in clients.items():
            client.meta.events.register("before-call", _recorder(made, name))
        _count_gateway(stack, made)
        stack.rotate()  # the first one; the second is the everyday case
        token, steps = stack.begin(), {}
        for step in Step:
            made.clear()
            stack.step(step, token)
            steps[step.value] = dict(sorted(made.items()))
    return steps


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
