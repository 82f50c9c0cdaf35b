"""Red is what is wrong now: what failed and has succeeded since stands apart, and hides nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from mtls_rotation.timing import utc_now
from mtlsctl.commands.doctor import CHECKS, Answer, DoctorReport, asked
from mtlsctl.exit_status import ExitStatus
from mtlsctl.findings import LATELY, DoctorContext, attention
from mtlsctl.report import Finding
from mtlsctl.stack.survey import SecretState, Survey

NOW = utc_now()
WELL = {"rotate": "step done", "truststore_sync": "reconciled", "revocation": "revocation done"}
FAILED = {"rotate": "step failed", "truststore_sync": "sync failed", "revocation": "revocation failed"}
FUNCTIONS = {
    "rotate": "RotateFunction",
    "truststore_sync": "TruststoreSyncFunction",
    "revocation": "RevocationFunction",
}
DENIED = "AccessDeniedException: User is not authorized to perform: {} on resource: arn:aws:s3:::b/k"
ROLE = "arn:aws:iam::123456789012:role/role"


class Aws:
    """Logs, metrics and IAM, as far as they are asked here."""

    def __init__(self, survey: Survey | None = None) -> None:
        self.lines: dict[str, list[dict[str, Any]]] = {name: [] for name in FUNCTIONS}
        self.metrics: dict[tuple[str, str], dict[Any, float]] = {}
        self.denies: set[str] = set()
        self.survey = survey
        self.asked: list[dict[str, Any]] = []
        self.exceptions = SimpleNamespace(ResourceNotFoundException=KeyError)

    def context(self) -> DoctorContext:
        resources = {logical: name for name, logical in FUNCTIONS.items()}
        resources |= {logical.replace("Function", "Logs"): name for name, logical in FUNCTIONS.items()}
        resources |= {logical.replace("Function", "Role"): "role" for logical in FUNCTIONS.values()}
        resources |= {"AuthorizerFunction": "authorizer", "AuthorizerLogs": "authorizer"}
        self.lines.setdefault("authorizer", [])
        outputs = {"RotateFunction": "arn:aws:lambda:us-east-1:123456789012:function:rotate", "BucketName": "b"}
        deployment: Any = SimpleNamespace(
            name="s", resources=resources, outputs=outputs, session=SimpleNamespace(client=lambda _: self)
        )
        context = DoctorContext(deployment)
        if self.survey:
            context.__dict__["survey"] = self.survey
        return context

    def say(self, function: str, ago: timedelta, **line: Any) -> None:
        self.lines[function].append({"timestamp": int((NOW - ago).timestamp() * 1000), "message": json.dumps(line)})

    def fail(self, function: str, ago: timedelta, text: str, request: str = "", **work: str) -> None:
        line = {"level": "ERROR", "message": FAILED[function], "location": "handler:1", "exception": text}
        self.say(function, ago, **line, function_request_id=request, **work)

    def succeed(self, function: str, ago: timedelta, request: str = "", **work: str) -> None:
        line = {"level": "INFO", "message": WELL[function], "location": "handler:1"}
        self.say(function, ago, **line, function_request_id=request, **work)

    # as botocore has it

    def get_paginator(self, _: str) -> Aws:
        return self

    def paginate(self, *, logGroupName: str, startTime: int, filterPattern: str) -> list[dict[str, Any]]:  # noqa: N803
        self.asked.append({"group": logGroupName, "pattern": filterPattern})
        words = [it for it in filterPattern.split('"') if it.strip()]
        lines = sorted(self.lines[logGroupName], key=lambda it: it["timestamp"])
        found = [it for it in lines if it["timestamp"] >= startTime and all(word in it["message"] for word in words)]
        return [{"events": []}, {"events": found}]

    def get_metric_statistics(self, *, MetricName: str, Dimensions: Any, StartTime: Any, **_: Any) -> Any:  # noqa: N803
        points = self.metrics.get((Dimensions[0]["Value"], MetricName), {})
        return {"Datapoints": [{"Timestamp": at, "Sum": it} for at, it in points.items() if at >= StartTime]}

    def get_role(self, **_: str) -> Any:
        return {"Role": {"Arn": ROLE}}

    def simulate_principal_policy(self, *, ActionNames: list[str], **_: Any) -> Any:  # noqa: N803
        decision = "explicitDeny" if ActionNames[0] in self.denies else "allowed"
        return {"EvaluationResults": [{"EvalDecision": decision}]}

    def describe_secret(self, *, SecretId: str) -> Any:  # noqa: N803
        raise KeyError(SecretId)


def answer(aws: Aws, name: str = "no call is denied") -> Answer:
    (check,) = [it for it in CHECKS if it.name == name]
    return asked(check, aws.context())


MINUTE = timedelta(minutes=1)


def test_what_was_denied_and_is_mended_stands_apart_with_when_and_by_what(
    surveyed: SecretState, survey: Survey
) -> None:
    aws = Aws(replace(survey, secrets=(replace(surveyed, last_rotated=None),)))
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
    aws = Aws(replace(survey, secrets=(replace(surveyed, last_rotated=None), other)))
    aws.fail("rotate", 300 * MINUTE, DENIED.format("s3:GetObject"), secret=surveyed.arn, step="testSecret")
    aws.succeed("rotate", 200 * MINUTE, secret=surveyed.arn, step="createSecret")
    aws.succeed("rotate", 100 * MINUTE, secret=other.arn, step="testSecret")

    (finding,) = answer(aws).findings

    assert "in testSecret of s/client" in finding.what
    assert finding.remedy.endswith("mtlsctl rotate s/client --wait")


def test_a_new_failure_is_red_though_an_older_one_in_the_same_place_is_mended() -> None:
    aws = Aws()
    aws.fail("truststore_sync", 300 * MINUTE, DENIED.format("s3:PutObject"))
    aws.succeed("truststore_sync", 200 * MINUTE)
    aws.fail("truststore_sync", 100 * MINUTE, DENIED.format("apigateway:PATCH"))

    found = answer(aws)

    assert [it.what[:24] for it in found.findings] == ["apigateway:PATCH was den"]
    assert [it.what[:23] for it in found.past] == ["s3:PutObject was denied"]


def test_a_log_with_more_lines_than_are_read_does_not_hide_its_end() -> None:
    aws = Aws()
    for number in range(1500):
        aws.fail("truststore_sync", 600 * MINUTE - number * timedelta(seconds=1), DENIED.format("s3:PutObject"))
    aws.succeed("truststore_sync", 500 * MINUTE)
    aws.fail("truststore_sync", 5 * MINUTE, DENIED.format("apigateway:PATCH"))

    assert [it.what.split()[0] for it in answer(aws).findings] == ["apigateway:PATCH"]


def test_a_run_that_says_in_passing_what_it_could_not_do_does_not_mend_that_by_ending_well() -> None:
    aws = Aws()
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
    aws = Aws()
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
    aws = Aws(replace(survey, secrets=(replace(surveyed, last_rotated=None),)))
    work = {"secret": surveyed.arn, "step": "setSecret"}
    aws.fail("rotate", 30 * MINUTE, DENIED.format("s3:GetObject"), request="1", **work)
    lambdas = {"level": "ERROR", "errorMessage": DENIED.format("s3:GetObject"), "requestId": "1"}
    aws.say("rotate", 30 * MINUTE, **lambdas)

    (finding,) = answer(aws).findings

    assert finding.what == "s3:GetObject was denied, 1 times in the last day, in setSecret of s/client"


def test_a_rotation_that_waits_for_a_signature_has_not_failed(surveyed: SecretState, survey: Survey) -> None:
    aws = Aws(survey)
    waiting = {"level": "ERROR", "errorType": "WaitingForCertificateError", "errorMessage": "MTLS-207 …"}
    aws.say("rotate", 30 * MINUTE, **waiting, requestId="1")

    found = answer(aws, "no rotation fails")
    assert (found.findings, found.past) == ([], [])


def test_what_failed_for_a_secret_that_is_gone_is_past(survey: Survey) -> None:
    aws = Aws(survey)
    aws.fail("rotate", 30 * MINUTE, DENIED.format("s3:GetObject"), secret="arn:gone", step="setSecret")

    found = answer(aws)
    assert (found.findings, [it.mended for it in found.past]) == ([], ["the secret is gone"])


@pytest.mark.parametrize(
    ("ran", "failed", "red"), [({}, {}, True), ({20: 3.0}, {20: 3.0}, True), ({20: 3.0}, {20: 1.0}, False)]
)
def test_a_function_that_says_nothing_when_all_is_well_is_judged_by_its_metrics(
    ran: dict[int, float], failed: dict[int, float], *, red: bool
) -> None:
    aws = Aws()
    aws.context()
    line = {"level": "ERROR", "message": "not decided", "location": "handler:34"}
    aws.say("authorizer", 30 * MINUTE, **line, exception=DENIED.format("s3:GetObject"))
    aws.metrics["authorizer", "Invocations"] = {NOW - ago * MINUTE: it for ago, it in ran.items()}
    aws.metrics["authorizer", "Errors"] = {NOW - ago * MINUTE: it for ago, it in failed.items()}

    assert bool(answer(aws).findings) == red


def test_what_lambda_turned_away_is_red_until_the_function_has_run() -> None:
    aws = Aws()
    aws.metrics["rotate", "Throttles"] = {NOW - 30 * MINUTE: 4.0, NOW - 90 * MINUTE: 1.0}
    aws.metrics["rotate", "Invocations"] = {NOW - 60 * MINUTE: 2.0}

    (finding,) = answer(aws, "nothing is throttled").findings
    assert (finding.subject, finding.what) == ("RotateFunction", "it was throttled 5 times in the last day")

    aws.metrics["rotate", "Invocations"][NOW - 10 * MINUTE] = 1.0
    found = answer(aws, "nothing is throttled")
    assert (found.findings, len(found.past)) == ([], 1)


def test_where_nothing_has_failed_nothing_is_asked_of_what_succeeded() -> None:
    aws = Aws()
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


RUNS = st.lists(
    st.tuples(
        st.sampled_from(["rotate a create", "rotate a test", "rotate b test", "truststore_sync", "revocation"]),
        st.sampled_from([None, "s3:PutObject", "s3:GetObject", "kms:Sign"]),
        st.booleans(),
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(RUNS)
def test_red_is_what_has_not_succeeded_since_and_nothing_else(runs: list[tuple[str, str | None, bool]]) -> None:
    """Runs of the last day in their order: of each piece of work, each a success or a call that was denied."""
    aws = Aws()
    secret: Any = SimpleNamespace
    secrets = [secret(arn=f"arn:{it}", name=it, stages={}, last_rotated=None) for it in ("a", "b")]
    aws.survey = secret(secrets=secrets)
    expected: dict[tuple[str, str, str], bool] = {}
    for number, (work, denied, twice) in enumerate(runs):
        function, *rest = work.split()
        keys = {"secret": f"arn:{rest[0]}", "step": rest[1]} if rest else {}
        ago = LATELY * 0.9 - number * 20 * MINUTE
        if denied is None:
            aws.succeed(function, ago, request=str(number), **keys)
            expected = {key: red and key[1] != work for key, red in expected.items()}
        else:
            aws.fail(function, ago, DENIED.format(denied), request=str(number), **keys)
            if twice:
                aws.say(function, ago, level="ERROR", errorMessage=DENIED.format(denied), requestId=str(number))
            expected[FUNCTIONS[function], work, denied] = True

    found = answer(aws)

    def named(it: Finding | Any) -> tuple[str, str]:
        return it.subject, it.what.split()[0]

    red = {(function, action) for (function, _, action), is_red in expected.items() if is_red}
    over = {(function, action) for (function, _, action), is_red in expected.items() if not is_red}
    assert {named(it) for it in found.findings} == red
    assert {named(it) for it in found.past} == over
