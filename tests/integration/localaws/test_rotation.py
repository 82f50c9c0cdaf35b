from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws import LocalAws
from tests.integration.localaws.support import wait_until

STEPS = ["createSecret", "setSecret", "testSecret", "finishSecret"]
type Runs = Callable[..., Any]


def start(secrets: Any, secret: str, rotator: str, **options: Any) -> str:
    return str(secrets.rotate_secret(SecretId=secret, RotationLambdaARN=rotator, **options)["VersionId"])


def stages(secrets: Any, secret: str) -> dict[str, list[str]]:
    return dict(secrets.describe_secret(SecretId=secret)["VersionIdsToStages"])


def make_fail(secrets: Any, secret: str, step: str) -> None:
    secrets.tag_resource(SecretId=secret, Tags=[{"Key": "fail", "Value": step}])


def test_a_rotation_runs_the_four_steps_in_order_and_makes_the_version_current(
    secrets: Any, secret: str, rotator: str, runs_of: Runs
) -> None:
    version = start(secrets, secret, rotator)
    (run,) = runs_of(secret)
    assert list(run.steps) == STEPS
    assert (run.error, run.trigger, run.version_id, run.attempt) == (None, "manual", version, 1)
    assert secrets.get_secret_value(SecretId=secret)["VersionId"] == version


def test_the_function_gets_the_documented_event(secrets: Any, secret: str, rotator: str, runs_of: Runs) -> None:
    version = start(secrets, secret, rotator)
    runs_of(secret)
    event = json.loads(secrets.get_secret_value(SecretId=secret)["SecretString"])
    assert event.pop("RotationToken")
    assert event == {"Step": "createSecret", "SecretId": secret, "ClientRequestToken": version}


def test_the_token_becomes_the_version(secrets: Any, secret: str, rotator: str, runs_of: Runs) -> None:
    token = str(uuid.uuid4())
    assert start(secrets, secret, rotator, ClientRequestToken=token) == token
    runs_of(secret)
    assert secrets.get_secret_value(SecretId=secret)["VersionId"] == token


def test_pending_may_stay_on_the_version_that_became_current_and_the_next_rotation_still_starts(
    secrets: Any, secret: str, rotator: str, runs_of: Runs
) -> None:
    first = start(secrets, secret, rotator)
    runs_of(secret)
    assert sorted(stages(secrets, secret)[first]) == ["AWSCURRENT", "AWSPENDING"]
    second = start(secrets, secret, rotator)
    runs_of(secret, 2)
    assert stages(secrets, secret)[first] == ["AWSPREVIOUS"]
    assert sorted(stages(secrets, secret)[second]) == ["AWSCURRENT", "AWSPENDING"]


def test_dates_and_rules_are_shown_by_describe_and_list(
    aws: LocalAws, secrets: Any, secret: str, rotator: str, runs_of: Runs
) -> None:
    rules = {"ScheduleExpression": "rate(10 days)", "Duration": "3h"}
    start(secrets, secret, rotator, RotationRules=rules)
    runs_of(secret)
    described = secrets.describe_secret(SecretId=secret)
    assert described["RotationEnabled"] is True
    assert described["RotationLambdaARN"] == rotator
    assert described["RotationRules"] == rules
    assert abs(described["LastRotatedDate"] - aws.now()) < timedelta(minutes=1)
    assert abs(described["NextRotationDate"] - described["LastRotatedDate"] - timedelta(days=10)) < timedelta(seconds=1)
    (listed,) = secrets.list_secrets(Filters=[{"Key": "name", "Values": [described["Name"]]}])["SecretList"]
    for member in ("RotationEnabled", "RotationRules", "LastRotatedDate", "NextRotationDate", "RotationLambdaARN"):
        assert listed[member] == described[member]


@pytest.mark.parametrize("step", STEPS)
def test_a_failing_step_stops_the_rotation_and_current_stays(
    secrets: Any, secret: str, rotator: str, runs_of: Runs, settings: Callable[..., object], step: str
) -> None:
    settings(rotation_retries=0)
    make_fail(secrets, secret, step)
    start(secrets, secret, rotator)
    (run,) = runs_of(secret)
    assert list(run.steps) == STEPS[: STEPS.index(step) + 1]
    assert run.error.startswith(f"{step}: ")
    assert "told to fail" in run.error
    assert secrets.get_secret_value(SecretId=secret)["SecretString"] == "first"


def test_a_rotation_that_failed_before_a_value_leaves_an_empty_pending_version(
    secrets: Any, secret: str, rotator: str, runs_of: Runs, settings: Callable[..., object]
) -> None:
    settings(rotation_retries=0)
    make_fail(secrets, secret, "createSecret")
    version = start(secrets, secret, rotator)
    runs_of(secret)
    assert stages(secrets, secret)[version] == ["AWSPENDING"]
    for which in ({"VersionId": version, "VersionStage": "AWSPENDING"}, {"VersionStage": "AWSPENDING"}):
        with pytest.raises(secrets.exceptions.ResourceNotFoundException, match="can't find the specified secret value"):
            secrets.get_secret_value(SecretId=secret, **which)


def test_a_failed_rotation_is_tried_again_by_itself_with_the_same_token(
    secrets: Any, secret: str, rotator: str, runs_of: Runs
) -> None:
    make_fail(secrets, secret, "testSecret")
    version = start(secrets, secret, rotator)
    runs_of(secret)
    secrets.untag_resource(SecretId=secret, TagKeys=["fail"])
    wait_until(lambda: secrets.get_secret_value(SecretId=secret)["VersionId"] == version)
    runs = wait_until(lambda: [r for r in [runs_of(secret, 2)] if r[-1].error is None])[0]
    assert {run.version_id for run in runs} == {version}
    assert [run.attempt for run in runs] == list(range(1, len(runs) + 1))


def test_a_rotation_is_not_tried_again_without_end(
    secrets: Any, secret: str, rotator: str, runs_of: Runs, settings: Callable[..., object]
) -> None:
    settings(rotation_retries=1, rotation_retry_backoff=timedelta(0))
    make_fail(secrets, secret, "setSecret")
    start(secrets, secret, rotator)
    runs = runs_of(secret, 2)
    assert [run.attempt for run in runs] == [1, 2]
    with pytest.raises(AssertionError):
        wait_until(lambda: len(runs_of(secret, 2)) > 2, timeout=0.5)


def test_rotating_over_an_unfinished_rotation_is_an_error_and_reattempts_that_one(
    secrets: Any, secret: str, rotator: str, runs_of: Runs, settings: Callable[..., object]
) -> None:
    settings(rotation_retries=0)
    make_fail(secrets, secret, "testSecret")
    version = start(secrets, secret, rotator)
    runs_of(secret)
    secrets.untag_resource(SecretId=secret, TagKeys=["fail"])
    with pytest.raises(secrets.exceptions.InvalidRequestException, match="previous rotation isn't complete"):
        secrets.rotate_secret(SecretId=secret)
    runs = runs_of(secret, 2)
    assert runs[-1].error is None
    assert secrets.get_secret_value(SecretId=secret)["VersionId"] == version


def test_a_secret_without_a_function_cannot_be_rotated(secrets: Any, secret: str) -> None:
    with pytest.raises(secrets.exceptions.InvalidRequestException):
        secrets.rotate_secret(SecretId=secret)


def test_a_missing_secret_and_one_marked_for_deletion_cannot_be_rotated(
    secrets: Any, secret: str, rotator: str
) -> None:
    with pytest.raises(secrets.exceptions.ResourceNotFoundException):
        start(secrets, "no-such-secret", rotator)
    secrets.delete_secret(SecretId=secret, RecoveryWindowInDays=7)
    with pytest.raises(secrets.exceptions.InvalidRequestException):
        start(secrets, secret, rotator)


@pytest.mark.parametrize("permission", [None, {"SourceAccount": "999999999999"}, {"SourceArn": "arn:aws:x"}])
def test_the_function_must_let_secrets_manager_invoke_it(
    secrets: Any, secret: str, make_function: Callable[..., str], permission: dict[str, str] | None
) -> None:
    function = make_function("", None if permission is None else "secretsmanager.amazonaws.com", **permission or {})
    with pytest.raises(ClientError, match="cannot invoke the specified Lambda function") as caught:
        start(secrets, secret, function)
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"


@pytest.mark.parametrize("reading", ["current", "empty"])
def test_without_rotating_at_once_only_testsecret_runs_and_its_version_goes_again(
    secrets: Any, secret: str, rotator: str, runs_of: Runs, settings: Callable[..., object], reading: str
) -> None:
    settings(rotation_trial=reading)
    make_fail(secrets, secret, "testSecret")
    before = stages(secrets, secret)
    rules = {"AutomaticallyAfterDays": 5}
    secrets.rotate_secret(SecretId=secret, RotationLambdaARN=rotator, RotationRules=rules, RotateImmediately=False)
    (run,) = runs_of(secret)
    assert (list(run.steps), run.trigger) == (["testSecret"], "test")
    assert "told to fail" in run.error
    wait_until(lambda: stages(secrets, secret) == before)
    assert secrets.describe_secret(SecretId=secret)["RotationEnabled"] is True
    assert "NextRotationDate" in secrets.describe_secret(SecretId=secret)


@pytest.mark.parametrize(("reading", "found"), [("current", "what is there"), ("empty", "nothing")])
def test_a_trial_finds_the_value_at_awscurrent_or_none_as_is_set(
    secrets: Any, secret: str, rotator: str, runs_of: Runs, settings: Callable[..., object], reading: str, found: str
) -> None:
    settings(rotation_trial=reading)
    secrets.put_secret_value(SecretId=secret, SecretString="what is there")
    rules = {"AutomaticallyAfterDays": 5}
    secrets.rotate_secret(SecretId=secret, RotationLambdaARN=rotator, RotationRules=rules, RotateImmediately=False)
    runs_of(secret)
    tags = {tag["Key"]: tag["Value"] for tag in secrets.describe_secret(SecretId=secret)["Tags"]}
    assert tags["found"] == found


def test_cancelling_ends_retries_and_schedule_and_leaves_the_labels(
    secrets: Any, secret: str, rotator: str, runs_of: Runs, settings: Callable[..., object]
) -> None:
    settings(rotation_retry_backoff=timedelta(seconds=0.3))
    make_fail(secrets, secret, "setSecret")
    version = start(secrets, secret, rotator, RotationRules={"AutomaticallyAfterDays": 1})
    runs_of(secret)
    answer = secrets.cancel_rotate_secret(SecretId=secret)
    assert (answer["ARN"], answer["VersionId"]) == (secret, version)
    described = secrets.describe_secret(SecretId=secret)
    assert described["RotationEnabled"] is False
    assert "NextRotationDate" not in described
    assert stages(secrets, secret)[version] == ["AWSPENDING"]
    with pytest.raises(AssertionError):
        wait_until(lambda: len(runs_of(secret)) > 1, timeout=0.8)


def test_a_rotation_falls_due_when_the_clock_passes_its_date(
    aws: LocalAws, secrets: Any, secret: str, rotator: str, runs_of: Runs
) -> None:
    start(secrets, secret, rotator, RotationRules={"AutomaticallyAfterDays": 30})
    runs_of(secret)
    aws.advance_clock(timedelta(days=29))
    assert len(runs_of(secret)) == 1
    aws.advance_clock(timedelta(days=1, minutes=1))
    manual, scheduled = runs_of(secret, 2)
    assert (manual.trigger, scheduled.trigger) == ("manual", "scheduled")
    wait_until(lambda: secrets.describe_secret(SecretId=secret).get("NextRotationDate"))
    described = secrets.describe_secret(SecretId=secret)
    assert described["NextRotationDate"] > aws.now() + timedelta(days=29)
    secrets.cancel_rotate_secret(SecretId=secret)


@pytest.mark.parametrize(
    "rules",
    [
        {"AutomaticallyAfterDays": 1001},
        {"AutomaticallyAfterDays": 3, "ScheduleExpression": "rate(3 days)"},
        {"ScheduleExpression": "rate(3 hours)"},
        {"ScheduleExpression": "rate(1 week)"},
        {"ScheduleExpression": "cron(30 8 1 * ? *)"},
        {"ScheduleExpression": "cron(0 8 1 *)"},
        {"ScheduleExpression": "rate(3 days)", "Duration": "h3"},
    ],
)
def test_rules_that_aws_would_not_take_are_refused(
    secrets: Any, secret: str, rotator: str, rules: dict[str, Any]
) -> None:
    with pytest.raises(ClientError) as caught:
        start(secrets, secret, rotator, RotationRules=rules)
    assert caught.value.response["Error"]["Code"] == "InvalidParameterException"
    assert "RotationEnabled" not in secrets.describe_secret(SecretId=secret)
