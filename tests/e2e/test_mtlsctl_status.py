"""`mtlsctl status` on a deployed stack: what it says is so, and it says what is not well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from demo.waiting import await_condition
from tests.kit.deployment import Deployment
from tests.kit.mtlsctl import Mtlsctl


@pytest.fixture
def mtlsctl(gateway: Deployment) -> Mtlsctl:
    gateway.await_rest(gateway.client)
    return Mtlsctl(gateway.environment, gateway.stack.name)


def test_a_healthy_stack_is_well(mtlsctl: Mtlsctl, gateway: Deployment) -> None:
    status, document = mtlsctl.json("status")

    assert (status, document["findings"]) == (0, [])
    client = next(it for it in document["secrets"] if it["name"] == "e2e-gateway/client")
    held = gateway.value(gateway.client)
    assert client["serial_number"] == held["serial_number"]
    assert client["not_after"] == held["not_after"]
    assert client["stages"][gateway.labels(gateway.client)["AWSCURRENT"]] == ["AWSCURRENT"]
    assert [(it["domain"], it["accepted"]) for it in client["accepted"]] == [(gateway.parameters["DomainName"], True)]
    (domain,) = document["domains"]
    assert domain["truststore_version"] == gateway.deployed_truststore() == document["published_version"]


def test_the_table_has_the_same(mtlsctl: Mtlsctl, gateway: Deployment) -> None:
    ran = mtlsctl("status")

    assert ran.exit_code == 0
    assert gateway.value(gateway.client)["serial_number"][:8] in ran.out
    assert "Everything is fresh." in ran.out


def test_a_secret_that_is_not_rotated_needs_attention(mtlsctl: Mtlsctl, gateway: Deployment) -> None:
    with rotation_switched_off(gateway):
        status, document = mtlsctl.json("status")
        table = mtlsctl("status")

    assert (status, table.exit_code) == (1, 1)
    assert [(it["subject"], it["runbook"]) for it in document["findings"]] == [("e2e-gateway/client", "MTLS-105")]
    assert "its rotation is switched off" in table.out


def test_a_stack_that_is_not_there_could_not_be_told(gateway: Deployment) -> None:
    nowhere = Mtlsctl(gateway.environment, "nowhere")

    status, document = nowhere.json("status")
    ran = nowhere("status")

    assert (status, ran.exit_code) == (2, 2)
    assert document["error"]["code"] == "MTLS-401"
    assert ran.err.startswith("MTLS-401 stack nowhere: found no such stack")


@contextmanager
def rotation_switched_off(gateway: Deployment) -> Iterator[None]:
    rules = gateway.secrets.describe_secret(SecretId=gateway.client)["RotationRules"]
    gateway.secrets.cancel_rotate_secret(SecretId=gateway.client)
    try:
        yield
    finally:
        gateway.secrets.rotate_secret(
            SecretId=gateway.client,
            RotationLambdaARN=gateway.stack.outputs["RotateFunction"],
            RotationRules={"ScheduleExpression": rules["ScheduleExpression"]},
            RotateImmediately=False,
        )
        gateway.await_rest(gateway.client)
        await_condition(lambda: "AWSPENDING" not in gateway.labels(gateway.client), "the trial is over", 30.0)
