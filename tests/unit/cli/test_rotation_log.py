"""What `mtlsctl rotate` makes of the rotate function's log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mtls_rotation.rotation.request import Step
from mtlsctl.following.log import Result, latest, read

VERSION = "d9e1b5a0-0000-4000-8000-000000000001"
REFUSED = (
    "MTLS-203 secret s/client, version v: found https://api.example.com/ refused it: HTTP status 403, where 200 was"
    " expected; expected the endpoint to accept the pending certificate. Secrets Manager tries again by itself."
)


def entry(message: str, step: str, **members: Any) -> str:
    return json.dumps({"level": "INFO", "message": message, "version": VERSION, "step": step} | members)


def test_each_step_says_how_it_ended_and_how_long_it_took() -> None:
    lines = latest(read([entry("step done", "createSecret", seconds=0.12), entry("step done", "setSecret")], VERSION))

    assert {step: (it.result, it.seconds) for step, it in lines.items()} == {
        Step.CREATE: (Result.DONE, 0.12),
        Step.SET: (Result.DONE, None),
    }


@pytest.mark.parametrize(
    "message",
    [
        "START RequestId: 1 Version: $LATEST",
        "[]",
        "{",
        entry("issued a certificate", "createSecret"),
        entry("step done", "dropSecret"),
        entry("step done", "createSecret", version="another"),
    ],
)
def test_every_other_line_is_passed_over(message: str) -> None:
    assert read([message], VERSION) == []


def test_a_failure_has_its_code_its_message_and_what_to_do() -> None:
    (line,) = read([entry("step failed", "testSecret", code="MTLS-203", reason=REFUSED, seconds=120.1)], VERSION)

    assert (line.result, line.code, line.reason) == (Result.FAILED, "MTLS-203", REFUSED)
    assert line.remedy == "Secrets Manager tries again by itself."
    assert line.retryable


def test_a_failure_is_read_from_the_traceback_where_the_line_says_no_more() -> None:
    exception = f"Traceback (most recent call last):\n  ...\nmtls_rotation.errors.HandshakeFailedError: {REFUSED}"
    (line,) = read([entry("step failed", "testSecret", exception=exception)], VERSION)

    assert (line.code, line.reason) == ("MTLS-203", REFUSED)


def test_a_denial_is_not_tried_again_in_vain() -> None:
    reason = "An error occurred (AccessDeniedException) when calling the PutSecretValue operation: no"
    (line,) = read([entry("step failed", "createSecret", code="AWS.AccessDeniedException", reason=reason)], VERSION)

    assert not line.retryable
    assert line.remedy.startswith("Compare the function's role with the template's")


def test_waiting_for_a_signature_is_no_failure_and_names_the_request() -> None:
    reason = (
        "MTLS-207 secret s/client: found a signing request that is out, and no signed certificate yet; expected the"
        " answer to requested/ab12/s/client.csr, uploaded under signed/. Nothing is wrong."
    )
    (line,) = read([entry("waiting for a certificate", "createSecret", reason=reason)], VERSION)

    assert (line.result, line.waits_for_signature) == (Result.UNSIGNED, True)
    assert line.request_key == "requested/ab12/s/client.csr"


def test_a_run_that_begins_again_makes_what_came_after_of_no_account() -> None:
    messages = [
        entry("step done", "createSecret"),
        entry("step failed", "setSecret", code="MTLS-202", reason="MTLS-202 late"),
        entry("step done", "createSecret"),
    ]

    assert list(latest(read(messages, VERSION))) == [Step.CREATE]
