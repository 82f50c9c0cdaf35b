"""`mtlsctl rotate` on a deployed stack: it rotates, and what it says of the steps is so."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

import pytest

from demo.waiting import await_condition
from tests.e2e.operators import documented_actions, gone_afterwards, held, with_only, without
from tests.kit.deployment import Deployment
from tests.kit.mtlsctl import Mtlsctl
from tests.kit.upstream import Received, Upstream

SECRET = "e2e-gateway/rotated"
STEPS = ["createSecret", "setSecret", "testSecret", "finishSecret"]


@pytest.fixture(scope="module")
def mtlsctl(gateway: Deployment) -> Iterator[Mtlsctl]:
    mtlsctl = Mtlsctl(gateway.environment, gateway.stack.name)
    with gone_afterwards(gateway, SECRET):
        assert mtlsctl("create", "client", "rotated", "--wait").exit_code == 0
        yield mtlsctl


@pytest.fixture(autouse=True)
def _at_rest(mtlsctl: Mtlsctl, gateway: Deployment) -> None:
    gateway.await_rest(SECRET)


def test_a_rotation_is_followed_to_its_end(mtlsctl: Mtlsctl, gateway: Deployment) -> None:
    before = held(gateway, SECRET)

    status, document = mtlsctl.json("rotate", "rotated", "--wait")

    assert (status, document["outcome"], document["taken_up"]) == (0, "done", False)
    assert [it["step"] for it in document["steps"]] == STEPS
    assert {it["result"] for it in document["steps"]} == {"done"}
    assert all(0 <= it["seconds"] < 60 for it in document["steps"])
    assert gateway.labels(SECRET)["AWSCURRENT"] == document["version_id"]
    assert gateway.accepts(held(gateway, SECRET))
    assert held(gateway, SECRET).serial != before.serial
    assert gateway.accepts(before)


def test_without_waiting_it_says_how_to_follow(mtlsctl: Mtlsctl, gateway: Deployment) -> None:
    ran = mtlsctl("rotate", "rotated")

    assert ran.exit_code == 0
    version = ran.out.partition(" to version ")[2].partition(" ")[0]
    assert ran.out.startswith(f"The rotation of {SECRET} to version {version} has begun.")
    assert f"mtlsctl rotate {SECRET} --wait" in ran.out
    await_condition(lambda: gateway.labels(SECRET)["AWSCURRENT"] == version, "the rotation", 30.0)


def test_a_step_that_failed_is_named_with_its_cause_and_taken_up_again(mtlsctl: Mtlsctl, gateway: Deployment) -> None:
    value = gateway.value(SECRET)
    value["request"]["validity_days"] = 7000
    gateway.secrets.put_secret_value(SecretId=SECRET, SecretString=json.dumps(value))
    current = gateway.labels(SECRET)["AWSCURRENT"]

    status, document = mtlsctl.json("rotate", SECRET, "--wait")
    again = mtlsctl("rotate", SECRET, "--wait")

    assert (status, document["outcome"]) == (1, "failed")
    assert [it["result"] for it in document["steps"]] == ["failed", "waiting", "waiting", "waiting"]
    assert (document["failure"]["step"], document["failure"]["code"]) == ("createSecret", "MTLS-103")
    assert "found a validity of 7000 days" in document["failure"]["message"]
    assert document["failure"]["remedy"].startswith("Ask for ")
    assert document["failure"]["retryable"] is False
    assert again.exit_code == 1
    assert f"{document['version_id']} was under way and is taken up again." in again.out
    assert "✗ createSecret failed: MTLS-103" in again.out
    assert "mtlsctl explain MTLS-103" in again.out
    assert gateway.labels(SECRET)["AWSCURRENT"] == current

    value["request"]["validity_days"] = 30
    gateway.secrets.put_secret_value(SecretId=SECRET, SecretString=json.dumps(value))
    status, document = mtlsctl.json("rotate", SECRET, "--wait")
    assert (status, document["outcome"], document["taken_up"]) == (0, "done", True)
    assert gateway.accepts(held(gateway, SECRET))


def test_whoever_may_not_read_the_log_is_told_the_end_by_the_labels(mtlsctl: Mtlsctl, gateway: Deployment) -> None:
    log_unreadable = without(gateway, "logs:FilterLogEvents")

    status, document = log_unreadable.json("rotate", "rotated", "--wait")

    assert (status, document["outcome"]) == (0, "done")
    assert document["log_unreadable"].startswith("AWS.AccessDenied")
    assert {it["seconds"] for it in document["steps"]} == {None}
    assert gateway.labels(SECRET)["AWSCURRENT"] == document["version_id"]


@contextmanager
def an_endpoint_that_keeps_silent(gateway: Deployment, partner: Upstream) -> Iterator[Event]:
    """testSecret asks the partner, who answers once the event is set: however quick all else is, it is not over."""
    answer, goes_on = partner.answering, Event()

    def late(request: Received) -> bytes:
        goes_on.wait(60.0)
        return answer(request)

    partner.trust(*gateway.published())
    partner.answering = late
    asked = gateway.value(SECRET) | {"endpoint": {"url": f"{partner.url}/", "server_ca": partner.ca}}
    gateway.secrets.put_secret_value(SecretId=SECRET, SecretString=json.dumps(asked))
    try:
        yield goes_on
    finally:
        goes_on.set()
        gateway.await_rest(SECRET)
        partner.reset()
        value = {name: it for name, it in gateway.value(SECRET).items() if name != "endpoint"}
        gateway.secrets.put_secret_value(SecretId=SECRET, SecretString=json.dumps(value))


def test_a_rotation_that_takes_longer_goes_on_and_is_reported_as_such(
    mtlsctl: Mtlsctl, gateway: Deployment, partner: Upstream
) -> None:
    with an_endpoint_that_keeps_silent(gateway, partner) as goes_on:
        before = gateway.labels(SECRET)["AWSCURRENT"]

        status, document = mtlsctl.json("rotate", "rotated", "--wait", "--timeout", "0")

        assert (status, document["error"]["code"]) == (2, "MTLS-405")
        assert "takes it up again" in document["error"]["remedy"]
        assert gateway.labels(SECRET)["AWSCURRENT"] == before
        goes_on.set()
        await_condition(lambda: gateway.labels(SECRET)["AWSCURRENT"] != before, "the rotation", 30.0)


def test_a_secret_whose_rotation_is_off_is_not_switched_on_by_the_way(mtlsctl: Mtlsctl, gateway: Deployment) -> None:
    gateway.secrets.cancel_rotate_secret(SecretId=SECRET)
    try:
        status, document = mtlsctl.json("rotate", "rotated")
        ran = mtlsctl("rotate", "rotated")
        enabled = gateway.secrets.describe_secret(SecretId=SECRET)["RotationEnabled"]
    finally:
        gateway.secrets.rotate_secret(SecretId=SECRET)

    assert (status, document["error"]["code"], ran.exit_code, enabled) == (2, "MTLS-105", 2, False)
    assert f"--rotation-lambda-arn {gateway.stack.outputs['RotateFunction']}" in ran.err


def test_a_secret_that_is_not_there_is_not_rotated(mtlsctl: Mtlsctl) -> None:
    status, document = mtlsctl.json("rotate", "nobody")

    assert (status, document["error"]["code"]) == (2, "MTLS-402")


def test_the_documented_actions_are_all_that_it_needs(mtlsctl: Mtlsctl, gateway: Deployment) -> None:
    status, document = with_only(gateway, documented_actions("rotate")).json("rotate", "rotated", "--wait")

    assert (status, document["log_unreadable"]) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--all",),
        ("--ca", "ca"),
        ("rotated", "--all", "--ca", "ca"),
        ("--all", "--ca", "rotated", "--yes"),
    ],
)
def test_what_names_no_secret_or_two_things_is_refused(mtlsctl: Mtlsctl, arguments: tuple[str, ...]) -> None:
    status, document = mtlsctl.json("rotate", *arguments)

    assert (status, document["error"]["code"]) == (2, "MTLS-403")


@pytest.mark.parametrize(("begun", "completed"), [("rot", "rotated"), ("e2e-gateway/ro", SECRET)])
def test_a_shell_completes_the_secrets_name(mtlsctl: Mtlsctl, begun: str, completed: str) -> None:
    asked = {"_MTLSCTL_COMPLETE": "complete_bash", "COMP_WORDS": f"mtlsctl rotate {begun}", "COMP_CWORD": "2"}
    environment = {**mtlsctl.environment, **asked, "MTLS_ROTATION_STACK": mtlsctl.stack}
    told = subprocess.run(
        [sys.executable, "-m", "mtlsctl"], env=environment, capture_output=True, text=True, check=True
    )

    assert told.stdout.split() == [completed]
