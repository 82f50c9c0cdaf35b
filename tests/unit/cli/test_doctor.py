"""Checks of `mtlsctl doctor` whose answers no deployed stack can be brought to give in time."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from mtls_rotation.errors import UnusableDomainError
from mtls_rotation.timing import utc_now
from mtlsctl import findings
from mtlsctl.commands.doctor import CHECKS, run
from mtlsctl.findings import DoctorCheck, DoctorContext, attention, history
from mtlsctl.report import Finding, Severity
from mtlsctl.stack.survey import Survey
from tests.kit.builders import NOW
from tests.unit.cli.conftest import spoiled


class PartialContext:
    """A deployment of which only what is named can be looked at."""

    def __init__(self, survey: Survey | None = None, **clients: Any) -> None:
        self.survey = survey
        self.deployment = SimpleNamespace(name="s", outputs={}, parameters={})
        self._clients = clients
        self.complaints: dict[str, list[dict[str, Any]]] = {}
        self.lost_logs: dict[str, str] = {}

    @property
    def failures(self) -> dict[str, list[history.Failure]]:
        return {function: history.failures_in(function, lines) for function, lines in self.complaints.items()}

    @property
    def record(self) -> history.Record:
        return history.Record(self)  # type: ignore[arg-type]

    def client(self, service: str) -> Any:
        return self._clients[service]

    def physical(self, _: str) -> str | None:
        return None


def asked(name: str, context: PartialContext) -> list[Finding]:
    (check,) = [it for it in CHECKS if it.name == name]
    return run(check, context)  # type: ignore[arg-type]


def test_a_rotation_that_is_stuck_is_found_with_the_way_to_begin_afresh(survey: Survey) -> None:
    stages = {"v-1": frozenset({"AWSCURRENT"}), "v-2": frozenset({"AWSPENDING"})}
    stuck = spoiled(survey, pending_since=NOW - timedelta(hours=3), stages=stages)

    (finding,) = asked("no rotation is stuck", PartialContext(stuck))

    assert finding.what.startswith("its version v-2 has been at AWSPENDING since")
    assert "--remove-from-version-id v-2" in finding.remedy
    assert asked("no rotation is stuck", PartialContext(survey)) == []


def test_what_a_domain_accepts_is_unknown_where_its_truststore_cannot_be_had(survey: Survey) -> None:
    gone = replace(survey.targets[0], anchors=None, problem="runs an object version that is gone")
    context = PartialContext(replace(survey, targets=(gone,)))

    (finding,) = asked("every domain accepts every current certificate", context)

    assert (finding.severity, finding.subject) == (Severity.UNKNOWN, "s/client")
    assert asked("every certificate is there and lasts", context) == []


def test_a_schedule_that_comes_after_the_end_is_found(survey: Survey) -> None:
    late = spoiled(survey, next_rotation=NOW + timedelta(days=29))

    (finding,) = asked("every certificate outlives its next rotation", PartialContext(late))

    assert finding.subject == "s/client"
    assert asked("every certificate outlives its next rotation", PartialContext(survey)) == []


@pytest.mark.parametrize(("version", "found"), [("v-current", 0), ("v-previous", 0), ("v-pending", 1), ("v-gone", 1)])
def test_a_failed_step_is_told_unless_its_version_came_through(survey: Survey, version: str, found: int) -> None:
    stages = {**survey.secrets[0].stages, "v-pending": frozenset({"AWSPENDING"})}
    context = PartialContext(replace(survey, secrets=(replace(survey.secrets[0], stages=stages),)))
    line = {"secret": survey.secrets[0].arn, "version": version, "step": "testSecret", "exception": "a\nMTLS-203 no"}
    context.complaints = {"RotateFunction": [line]}

    findings = asked("no rotation fails", context)

    assert [it.what for it in findings] == ["testSecret failed: MTLS-203 no"] * found


@pytest.mark.parametrize(("after", "found"), [(timedelta(hours=1), 0), (timedelta(hours=-1), 1)])
def test_a_failure_that_a_rotation_has_followed_is_over(survey: Survey, after: timedelta, found: int) -> None:
    context = PartialContext(spoiled(survey, last_rotated=NOW + after))
    line = {"secret": survey.secrets[0].arn, "version": "v-gone", "message": "MTLS-203 no", "at": NOW}
    context.complaints = {"RotateFunction": [line]}

    assert len(asked("no rotation fails", context)) == found


def test_what_waits_for_a_signature_is_not_stuck(survey: Survey) -> None:
    stages = {"v-1": frozenset({"AWSCURRENT"}), "v-2": frozenset({"AWSPENDING"}), "v-3": frozenset({"MTLS-CSR"})}
    waiting = spoiled(survey, pending_since=NOW - timedelta(hours=3), stages=stages, unsigned=True)

    assert asked("no rotation is stuck", PartialContext(waiting)) == []
    (finding,) = asked("every certificate is there and lasts", PartialContext(waiting))
    assert finding.runbook == "MTLS-207"


def test_a_ca_without_its_tag_and_a_secret_that_another_function_rotates_are_found(survey: Survey) -> None:
    tags, function = "every CA is tagged as one", "rotation is switched on, by the stack's function"

    def found(check: str, **changes: Any) -> list[str]:
        context: Any = PartialContext(spoiled(survey, **changes))
        context.deployment = SimpleNamespace(outputs={"RotateFunction": survey.secrets[0].function})
        return [it.what for it in asked(check, context)]

    assert found(tags) == found(tags, kind="ca", tagged_as_ca=True) == found(function) == []
    assert found(tags, kind="ca")[0].startswith("it holds a CA and lacks the tag")
    assert found(function, function="arn:another") == ["it is rotated by arn:another"]
    assert found(function, rotation_enabled=False) == ["its rotation is switched off"]
    assert found(function, rotation_enabled=False, deleted=True) == []


class Logs:
    """A log whose first pages hold nothing, as CloudWatch's may where it has much to look through."""

    def get_paginator(self, _: str) -> Logs:
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        line = json.dumps({"level": "ERROR", "message": "step failed"})
        return [{"events": []}, {"events": [{"timestamp": NOW.timestamp() * 1000, "message": line}]}, {"events": []}]


def test_an_error_is_found_behind_pages_that_hold_nothing() -> None:
    resources = {"RotateFunction": "rotate", "RotateLogs": "/aws/lambda/rotate"}
    deployment: Any = SimpleNamespace(resources=resources, session=SimpleNamespace(client=lambda _: Logs()))

    complaints = findings.DoctorContext(deployment).complaints

    assert complaints == {"RotateFunction": [{"level": "ERROR", "message": "step failed", "at": NOW}]}


@pytest.mark.parametrize(
    "failure",
    [
        EndpointConnectionError(endpoint_url="https://sns"),
        UnusableDomainError(where="domain x", found="no mutual TLS", expected="y", remedy="Deploy."),
    ],
)
def test_a_service_that_cannot_be_reached_leaves_the_other_checks_alone(failure: Exception) -> None:
    def look(_: object) -> list[Finding]:
        raise failure

    (finding,) = run(DoctorCheck("somebody is told", ("sns:x",), look), PartialContext())  # type: ignore[arg-type]

    assert finding.severity is Severity.UNKNOWN


class Sts:
    """A service whose clock is `behind` this machine's."""

    def __init__(self, behind: timedelta) -> None:
        self._date = format_datetime((utc_now() - behind), usegmt=True)

    def get_caller_identity(self) -> dict[str, Any]:
        return {"ResponseMetadata": {"HTTPHeaders": {"date": self._date}}}


@pytest.mark.parametrize(
    ("behind", "word"), [(timedelta(minutes=5), "ahead of"), (timedelta(minutes=-5), "behind"), (timedelta(0), None)]
)
def test_a_clock_that_is_off_is_found(behind: timedelta, word: str | None) -> None:
    findings = asked("this machine's clock agrees with AWS's", PartialContext(sts=Sts(behind)))

    assert [it.what for it in findings if word and word in it.what] == [it.what for it in findings]
    assert bool(findings) == bool(word)


def test_a_denied_look_names_what_it_takes_and_other_answers_are_told() -> None:
    def refused(code: str) -> DoctorCheck:
        def look(_: object) -> list[Finding]:
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, "DescribeKey")

        return DoctorCheck("the key can be used", ("kms:DescribeKey",), look)

    denied = run(refused("AccessDeniedException"), PartialContext())  # type: ignore[arg-type]
    failed = run(refused("InternalFailure"), PartialContext())  # type: ignore[arg-type]

    assert [(it.severity, it.remedy) for it in denied] == [(Severity.UNKNOWN, "It takes kms:DescribeKey.")]
    assert [(it.severity, it.what) for it in failed] == [
        (Severity.UNKNOWN, "DescribeKey was answered with InternalFailure: no")
    ]


@pytest.mark.parametrize("code", ["AccessDenied", "AuthorizationError", "403"])
def test_a_denial_is_one_in_the_words_of_each_service(code: str) -> None:
    """SNS has a code of its own, and S3's answer to HeadObject has the status alone."""

    def look(_: object) -> list[Finding]:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, "ListSubscriptionsByTopic")

    (found,) = run(DoctorCheck("the topic", ("sns:ListSubscriptionsByTopic",), look), PartialContext())  # type: ignore[arg-type]
    assert found.remedy == "It takes sns:ListSubscriptionsByTopic."


def test_every_check_says_what_it_needs_and_no_two_are_alike() -> None:
    assert all(check.needs for check in CHECKS)
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert attention("a", "b", "c").severity is Severity.ATTENTION


TARGET = "d-abcdef1234.execute-api.us-east-1.amazonaws.com"
# TEST-NET-1 and 2 (RFC 5737).
GATEWAYS, ANOTHERS = ("192.0.2.1", "192.0.2.2"), ("198.51.100.1",)


def with_gateway(survey: Survey | None = None, endpoint: str = "") -> PartialContext:
    context = PartialContext(survey)
    context.deployment.outputs = {"GatewayTarget": TARGET, "GatewaySteps": "1. ... 2. ...", "ClientSecret": "?"}
    context.deployment.parameters = {"DomainName": "api.example.com", "EndpointUrl": endpoint}
    return context


@pytest.mark.parametrize(
    ("names", "severity", "says"),
    [
        ({}, Severity.ATTENTION, "it resolves to nothing"),
        ({TARGET: GATEWAYS}, Severity.ATTENTION, "it resolves to nothing"),
        ({TARGET: GATEWAYS, "api.example.com": ANOTHERS}, Severity.UNKNOWN, "none of the addresses"),
        ({TARGET: GATEWAYS, "api.example.com": GATEWAYS[1:]}, None, ""),
    ],
)
def test_a_name_that_does_not_lead_to_the_gateway_is_found_with_where_to_point_it(
    monkeypatch: pytest.MonkeyPatch, names: dict[str, tuple[str, ...]], severity: Severity | None, says: str
) -> None:
    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        if host not in names:
            raise OSError("Name or service not known")
        return [(0, 0, 0, "", (address, port)) for address in names[host]]

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    found = asked("DNS leads to the gateway", with_gateway())

    assert [it.severity for it in found] == ([severity] if severity else [])
    assert all(says in it.what and (TARGET in f"{it.what} {it.remedy}") for it in found)
    # Where certificates are proved elsewhere, nothing is asked of DNS; and nothing without a gateway.
    assert asked("DNS leads to the gateway", with_gateway(endpoint="https://localhost:8443/")) == []
    assert asked("DNS leads to the gateway", PartialContext()) == []


def test_a_first_certificate_that_was_never_proved_is_found_until_it_was(survey: Survey) -> None:
    context = with_gateway(spoiled(survey, last_rotated=None))
    context.deployment.outputs["ClientSecret"] = survey.secrets[0].arn

    (finding,) = asked("the first certificate was proved at the gateway", context)

    assert finding.remedy.endswith("mtlsctl rotate s/client --wait")
    del context.deployment.outputs["GatewaySteps"]  # the hosted zone is the stack's to write: it rotates at once
    assert asked("the first certificate was proved at the gateway", context) == []
    proved = with_gateway(spoiled(survey, last_rotated=NOW))
    proved.deployment.outputs["ClientSecret"] = survey.secrets[0].arn
    assert asked("the first certificate was proved at the gateway", proved) == []


@pytest.mark.parametrize(("role", "found"), [("arn:aws:iam::123456789012:role/logs", 0), (None, 1)])
def test_logs_that_nobody_can_write_are_found(role: str | None, found: int) -> None:
    account = SimpleNamespace(get_account=lambda: {"cloudwatchRoleArn": role} if role else {})
    context = PartialContext(apigateway=account)
    assert asked("the gateway's requests can be logged", context) == []
    context.deployment.outputs["GatewayLogs"] = "logs"

    assert len(asked("the gateway's requests can be logged", context)) == found


def test_a_log_group_that_is_gone_is_told_with_what_makes_it_again_and_hides_no_other_log() -> None:
    class Gone(ClientError):
        pass

    def pages(logGroupName: str, **_: Any) -> Any:  # noqa: N803
        if logGroupName == "group/RotateLogs":
            raise Gone({"Error": {"Code": "ResourceNotFoundException"}}, "FilterLogEvents")
        return [{"events": []}]

    logs = SimpleNamespace(
        exceptions=SimpleNamespace(ResourceNotFoundException=Gone),
        get_paginator=lambda _: SimpleNamespace(paginate=pages),
    )
    deployment = SimpleNamespace(
        parameters={"LogRetentionDays": "30", "OperationKeyArn": ""},
        resources={
            f"{it}{kind}": f"group/{it}{kind}" for it in ("Rotate", "Revocation") for kind in ("Function", "Logs")
        },
        session=SimpleNamespace(client=lambda _: logs),
    )
    context = DoctorContext(deployment)  # type: ignore[arg-type]
    context._clients["lambda"] = SimpleNamespace(
        exceptions=SimpleNamespace(ResourceNotFoundException=Gone),
        get_function_configuration=lambda **_: {},
        get_function_concurrency=lambda **_: {},
    )

    (finding,) = run(next(it for it in CHECKS if it.name == "every function is ready"), context)

    assert (finding.severity, finding.subject) == (Severity.ATTENTION, "RotateFunction")
    assert finding.remedy == (
        "aws logs create-log-group --log-group-name group/RotateLogs"
        " && aws logs put-retention-policy --log-group-name group/RotateLogs --retention-in-days 30"
    )
    assert set(context.complaints) == {"RevocationFunction"}


@pytest.mark.parametrize(
    ("role", "attached"),
    [
        (
            "TruststoreSyncRole",
            "aws iam attach-role-policy --role-name s-TruststoreSyncRole --policy-arn s-SyncPolicy && ",
        ),
        ("RotateRole", ""),
    ],
)
def test_a_role_that_lost_its_policy_is_told_with_what_attaches_it_again(role: str, attached: str) -> None:
    lost = f"arn:s-{role}"
    context = PartialContext(
        iam=SimpleNamespace(
            get_role=lambda RoleName: {"Role": {"Arn": f"arn:{RoleName}"}},  # noqa: N803
            simulate_principal_policy=lambda PolicySourceArn, ActionNames, **_: {  # noqa: N803
                "EvaluationResults": [
                    {"EvalActionName": it, "EvalDecision": "implicitDeny" if PolicySourceArn == lost else "allowed"}
                    for it in ActionNames
                ]
            },
        )
    )
    context.physical = lambda name: f"s-{name}" if name.endswith(("Role", "Policy")) else None  # type: ignore[method-assign, assignment]
    context.deployment.outputs |= {
        "RotateFunction": "arn:aws:lambda:us-east-1:123456789012:function:rotate",
        "ClientSecret": "arn:client",
        "BucketName": "bucket",
    }

    findings = asked("the roles allow the work", context)

    assert {it.subject for it in findings} == {role}
    for it in findings:
        assert it.remedy.startswith(f"{attached}aws iam simulate-principal-policy --policy-source-arn {lost} ")
