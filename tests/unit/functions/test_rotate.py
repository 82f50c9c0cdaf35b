"""functions/rotate through its own handler, with the payloads that Secrets Manager sends."""

from __future__ import annotations

import io
import json
import logging
from types import ModuleType
from typing import Any

import pytest

from mtls_rotation.errors import InvalidEventError, VersionNotStagedError, WaitingForCertificateError
from tests.kit import builders
from tests.kit.lambda_functions import Context, load, sample
from tests.kit.stack import CLIENT, Stack

STEPS = ("create", "set", "test", "finish")


@pytest.fixture
def app(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("rotate", monkeypatch)


def metrics(output: str) -> dict[str, Any]:
    """The embedded metrics in what was printed, merged."""
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return {key: value for line in lines if "_aws" in line for key, value in line.items()}


def test_the_sample_payloads_take_a_secret_to_awscurrent(stack: Stack, app: ModuleType) -> None:
    token = stack.begin()
    for step in STEPS:
        app.handler(sample(f"rotate-{step}-secret", stack, ClientRequestToken=token), Context())

    assert stack.at("AWSCURRENT") == token
    assert stack.at("AWSPENDING") is None


def test_a_step_is_counted(stack: Stack, app: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    app.handler(sample("rotate-create-secret", stack, ClientRequestToken=stack.begin()), Context())

    counted = metrics(capsys.readouterr().out)
    assert (counted["step"], counted["StepSucceeded"]) == ("createSecret", [1.0])


def test_a_failure_is_counted_and_reaches_secrets_manager(
    stack: Stack, app: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(VersionNotStagedError):
        app.handler(sample("rotate-set-secret", stack), Context(seconds=11.5))

    counted = metrics(capsys.readouterr().out)
    assert (counted["step"], counted["StepFailed"]) == ("setSecret", [1.0])


def test_waiting_for_a_certificate_stops_secrets_manager_and_counts_as_no_failure(
    empty_stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty_stack.add_secret(CLIENT, builders.client_definition(issuer={"type": "external"}))
    app = load("rotate", monkeypatch)
    monkeypatch.setattr(app.assembly, "rotation", empty_stack.rotation, raising=False)
    event = sample("rotate-create-secret", empty_stack, ClientRequestToken=empty_stack.begin())
    with pytest.raises(WaitingForCertificateError):
        app.handler(event, Context())

    counted = metrics(capsys.readouterr().out)
    assert counted["StepWaiting"] == [1.0]
    assert "StepFailed" not in counted
    assert [it["detail-type"] for it in empty_stack.heard()] == ["Certificate Signing Requested"]


def test_a_step_says_in_the_log_how_long_it_took_and_why_it_failed(
    stack: Stack, app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = io.StringIO()
    monkeypatch.setattr(app.logger.registered_handler, "stream", lines)
    app.handler(sample("rotate-create-secret", stack, ClientRequestToken=stack.begin()), Context())
    with pytest.raises(VersionNotStagedError):
        app.handler(sample("rotate-set-secret", stack), Context(seconds=11.5))

    done, failed = (it for it in map(json.loads, lines.getvalue().splitlines()) if it["message"].startswith("step "))
    assert (done["message"], done["step"]) == ("step done", "createSecret")
    assert 0 <= done["seconds"] < 60
    assert (failed["message"], failed["step"], failed["code"]) == ("step failed", "setSecret", "MTLS-104")
    assert 0 <= failed["seconds"] < 60


def test_an_event_that_secrets_manager_would_not_send_is_refused(stack: Stack, app: ModuleType) -> None:
    with pytest.raises(InvalidEventError):
        app.handler(sample("rotate-create-secret", stack, Step="dropSecret"), Context())


def test_no_private_key_is_logged(stack: Stack, app: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(app.logger.registered_formatter)
    app.logger.addHandler(handler)
    token = stack.begin()
    for step in STEPS:
        app.handler(sample(f"rotate-{step}-secret", stack, ClientRequestToken=token), Context())
    logged = lines.getvalue() + "".join(capsys.readouterr())

    assert logged.count("step done") == len(STEPS)
    assert "PRIVATE KEY" not in logged
    assert stack.value(token, CLIENT)["private_key"].splitlines()[1] not in logged
