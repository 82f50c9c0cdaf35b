"""Red is what is wrong now: what failed and has succeeded since stands apart, and hides nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from mtlsctl.commands.doctor import DoctorReport, asked
from mtlsctl.exit_status import ExitStatus
from mtlsctl.findings import attention
from mtlsctl.stack.survey import SecretState, Survey
from tests.kit.logged import ACTIONS, DENIED, NOW, WORKS, Logged, Ran, answer, misjudged

MINUTE = timedelta(minutes=1)


def test_what_was_denied_and_is_mended_stands_apart_with_when_and_by_what(
    surveyed: SecretState, survey: Survey
) -> None:
    aws = Logged(replace(survey, secrets=(replace(surveyed, last_rotated=None),)))
    work = {"secret": surveyed.arn, "step": "testSecret", "version": "v-gone"}
    aws.fail("rotate", 300 * MINUTE, DENIED.format("s3:GetObject"), **work)
    aws.succeed("rotate", 200 * MINUTE, **work)

    found = answer(aws)

    assert found.findings == []
    (past,) = found.past
    assert (past.subject, past.mended) == ("RotateFunction", "testSecret of s/client")
    assert past.what == "s3:GetObject was denied, 1 times in the last day, in testSecret of s/client"
    assert abs(NOW - past.at - 300 * MINUTE) < MINUTE
    assert abs(NOW - past.mended_at - 200 * MINUTE) < MINUTE

    report = DoctorReport(stack="s", answers=[found])
    console = Console(width=300, record=True, file=StringIO())
    for part in report.render():
        console.print(part)
    shown = console.export_text()
    assert report.exit_status is ExitStatus.OK
    assert ("✗" in shown, "past: RotateFunction: s3:GetObject was denied" in shown) == (False, True)
    assert json.loads(report.model_dump_json())["answers"][0]["past"][0]["mended"] == "testSecret of s/client"


def test_another_step_and_another_secret_mend_nothing(surveyed: SecretState, survey: Survey) -> None:
    other = replace(surveyed, arn=f"{surveyed.arn}-other", name="s/other")
    aws = Logged(replace(survey, secrets=(replace(surveyed, last_rotated=None), other)))
    aws.fail("rotate", 300 * MINUTE, DENIED.format("s3:GetObject"), secret=surveyed.arn, step="testSecret")
    aws.succeed("rotate", 200 * MINUTE, secret=surveyed.arn, step="createSecret")
    aws.succeed("rotate", 100 * MINUTE, secret=other.arn, step="testSecret")

    (finding,) = answer(aws).findings

    assert "in testSecret of s/client" in finding.what
    assert finding.remedy.endswith("mtlsctl rotate s/client --wait")


def test_a_new_failure_is_red_though_an_older_one_in_the_same_place_is_mended() -> None:
    aws = Logged()
    aws.fail("truststore_sync", 300 * MINUTE, DENIED.format("s3:PutObject"))
    aws.succeed("truststore_sync", 200 * MINUTE)
    aws.fail("truststore_sync", 100 * MINUTE, DENIED.format("apigateway:PATCH"))

    found = answer(aws)

    assert [it.what[:24] for it in found.findings] == ["apigateway:PATCH was den"]
    assert [it.what[:23] for it in found.past] == ["s3:PutObject was denied"]


def test_a_log_with_more_lines_than_are_read_does_not_hide_its_end() -> None:
    aws = Logged()
    for number in range(1500):
        aws.fail("truststore_sync", 600 * MINUTE - number * timedelta(seconds=1), DENIED.format("s3:PutObject"))
    aws.succeed("truststore_sync", 500 * MINUTE)
    aws.fail("truststore_sync", 5 * MINUTE, DENIED.format("apigateway:PATCH"))

    assert [it.what.split()[0] for it in answer(aws).findings] == ["apigateway:PATCH"]


def test_a_run_that_says_in_passing_what_it_could_not_do_does_not_mend_that_by_ending_well() -> None:
    aws = Logged()
    aws.succeed("truststore_sync", 60 * MINUTE, request="1")
    text = DENIED.format("sqs:ChangeMessageVisibility")
    line = {"level": "ERROR", "message": "messages could not be postponed", "location": "_postpone:98"}
    aws.say("truststore_sync", 60 * MINUTE, **line, exception=text, function_request_id="1")
    assert len(answer(aws).findings) == 1

    # The next run had nothing to postpone.
    aws.succeed("truststore_sync", 30 * MINUTE, request="2")
    aws.denies = {"sqs:ChangeMessageVisibility"}
    assert len(answer(aws).findings) == 1
    aws.denies = set()
    assert answer(aws).findings == []


def test_a_revocation_that_ends_with_problems_is_mended_by_the_next_without_and_not_by_its_own_end() -> None:
    aws = Logged()
    line = {"level": "ERROR", "message": "not all could be done", "location": "handler:60"}
    aws.say("revocation", 60 * MINUTE, **line, problems=[DENIED.format("kms:Sign")], function_request_id="1")
    aws.succeed("revocation", 60 * MINUTE - timedelta(seconds=1), request="1")
    aws.fail("revocation", 90 * MINUTE, DENIED.format("s3:PutObject"), request="0")

    assert len(answer(aws).past) == 1

    (finding,) = answer(aws).findings
    assert finding.what.startswith("kms:Sign was denied")
    aws.succeed("revocation", 10 * MINUTE, request="2")
    assert answer(aws).findings == []


def test_a_run_that_lambda_tells_of_as_well_is_counted_once_and_told_of_its_step(
    surveyed: SecretState, survey: Survey
) -> None:
    aws = Logged(replace(survey, secrets=(replace(surveyed, last_rotated=None),)))
    work = {"secret": surveyed.arn, "step": "setSecret"}
    aws.fail("rotate", 30 * MINUTE, DENIED.format("s3:GetObject"), request="1", **work)
    lambdas = {"level": "ERROR", "errorMessage": DENIED.format("s3:GetObject"), "requestId": "1"}
    aws.say("rotate", 30 * MINUTE, **lambdas)

    (finding,) = answer(aws).findings

    assert finding.what == "s3:GetObject was denied, 1 times in the last day, in setSecret of s/client"


def test_a_rotation_that_waits_for_a_signature_has_not_failed(surveyed: SecretState, survey: Survey) -> None:
    aws = Logged(survey)
    waiting = {"level": "ERROR", "errorType": "WaitingForCertificateError", "errorMessage": "MTLS-207 …"}
    aws.say("rotate", 30 * MINUTE, **waiting, requestId="1")

    found = answer(aws, "no rotation fails")
    assert (found.findings, found.past) == ([], [])


def test_what_failed_for_a_secret_that_is_gone_is_past(survey: Survey) -> None:
    aws = Logged(survey)
    aws.fail("rotate", 30 * MINUTE, DENIED.format("s3:GetObject"), secret="arn:gone", step="setSecret")

    found = answer(aws)
    assert (found.findings, [it.mended for it in found.past]) == ([], ["the secret is gone"])


@pytest.mark.parametrize(
    ("ran", "failed", "red"), [({}, {}, True), ({20: 3.0}, {20: 3.0}, True), ({20: 3.0}, {20: 1.0}, False)]
)
def test_a_function_that_says_nothing_when_all_is_well_is_judged_by_its_metrics(
    ran: dict[int, float], failed: dict[int, float], *, red: bool
) -> None:
    aws = Logged()
    aws.context()
    line = {"level": "ERROR", "message": "not decided", "location": "handler:34"}
    aws.say("authorizer", 30 * MINUTE, **line, exception=DENIED.format("s3:GetObject"))
    aws.metrics["authorizer", "Invocations"] = {NOW - ago * MINUTE: it for ago, it in ran.items()}
    aws.metrics["authorizer", "Errors"] = {NOW - ago * MINUTE: it for ago, it in failed.items()}

    assert bool(answer(aws).findings) == red


def test_what_lambda_turned_away_is_red_until_the_function_has_run() -> None:
    aws = Logged()
    aws.metrics["rotate", "Throttles"] = {NOW - 30 * MINUTE: 4.0, NOW - 90 * MINUTE: 1.0}
    aws.metrics["rotate", "Invocations"] = {NOW - 60 * MINUTE: 2.0}

    (finding,) = answer(aws, "nothing is throttled").findings
    assert (finding.subject, finding.what) == ("RotateFunction", "it was throttled 5 times in the last day")

    aws.metrics["rotate", "Invocations"][NOW - 10 * MINUTE] = 1.0
    found = answer(aws, "nothing is throttled")
    assert (found.findings, len(found.past)) == ([], 1)


def test_where_nothing_has_failed_nothing_is_asked_of_what_succeeded() -> None:
    aws = Logged()
    answer(aws)
    assert {it["pattern"] for it in aws.asked} == {"ERROR"}


def test_what_was_found_stands_though_a_later_look_is_refused() -> None:
    from botocore.exceptions import ClientError

    from mtlsctl.findings import DoctorCheck

    def look(_: object) -> Any:
        yield attention("a", "b", "c")
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "GetRole")

    context: Any = None
    assert [it.severity.value for it in asked(DoctorCheck("x", ("y",), look), context).findings] == [
        "attention",
        "unknown",
    ]


RUNS = st.lists(st.builds(Ran, st.sampled_from(WORKS), st.sampled_from(["", *ACTIONS]), st.booleans()), max_size=30)


@settings(max_examples=40, deadline=None)
@given(RUNS)
def test_red_is_what_has_not_succeeded_since_and_nothing_else(runs: list[Ran]) -> None:
    assert misjudged(runs) == ""
