"""Watching a stack: a broken rotation moves its alarm, expiry is measured, and one token is in both functions' logs.

Everything is asked as an operator would: alarms by describe-alarms, their metrics by what they themselves name.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest

from demo import sam
from demo.waiting import await_condition
from mtls_rotation.pki import certificates as pki
from tests.kit.deployment import Deployment
from tests.kit.metrics import NAMESPACE

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import DimensionTypeDef, MetricAlarmTypeDef


class Watch:
    """CloudWatch, as it sees one deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.stack = deployment.stack.name

    @cached_property
    def cloudwatch(self) -> CloudWatchClient:
        return sam.session(self._deployment.environment).client("cloudwatch")

    def resource(self, logical_id: str) -> str:
        stacks = sam.session(self._deployment.environment).client("cloudformation")
        described = stacks.describe_stack_resource(StackName=self.stack, LogicalResourceId=logical_id)
        return described["StackResourceDetail"]["PhysicalResourceId"]

    def alarms(self) -> dict[str, MetricAlarmTypeDef]:
        """The stack's alarms, by name."""
        pages = self.cloudwatch.get_paginator("describe_alarms").paginate(AlarmTypes=["MetricAlarm"])
        return {alarm["AlarmName"]: alarm for page in pages for alarm in page["MetricAlarms"]}

    def alarm(self, logical_id: str) -> MetricAlarmTypeDef:
        return self.alarms()[self.resource(logical_id)]

    def values(self, name: str, dimensions: list[DimensionTypeDef], statistic: Any, namespace: str) -> list[float]:
        """A metric's values by minute, the newest last."""
        now = datetime.now(UTC)
        points = self.cloudwatch.get_metric_statistics(
            Namespace=namespace,
            MetricName=name,
            Dimensions=dimensions,
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=[statistic],
        )["Datapoints"]
        values: list[Any] = sorted(points, key=lambda it: it["Timestamp"])
        return [point[statistic] for point in values]

    def of(self, alarm: MetricAlarmTypeDef) -> list[float]:
        """The values of exactly what an alarm watches."""
        return self.values(alarm["MetricName"], alarm["Dimensions"], alarm["Statistic"], alarm["Namespace"])

    def days(self, **dimensions: str) -> float | None:
        """What `DaysToExpiry` says last of a secret or an anchor."""
        named: list[DimensionTypeDef] = [
            {"Name": key, "Value": value} for key, value in ({"stack": self.stack} | dimensions).items()
        ]
        return next(reversed(self.values("DaysToExpiry", named, "Maximum", NAMESPACE)), None)


@pytest.fixture(scope="module")
def watch(gateway: Deployment) -> Watch:
    return Watch(gateway)


def test_a_broken_rotation_moves_its_alarm(gateway: Deployment, watch: Watch) -> None:
    gateway.await_rest(gateway.client)
    good = gateway.value(gateway.client)
    broken = good | {"request": {"common_name": "x" * 65}}
    gateway.secrets.put_secret_value(SecretId=gateway.client, SecretString=json.dumps(broken))
    try:
        began = datetime.now(UTC)
        gateway.secrets.rotate_secret(SecretId=gateway.client)
        await_condition(lambda: watch.alarm("RotationFailedAlarm")["StateValue"] == "ALARM", "the alarm", 30.0)
        alarm = watch.alarm("RotationFailedAlarm")
        assert {(it["Name"], it["Value"]) for it in alarm["Dimensions"]} == {
            ("service", "rotate"),
            ("stack", watch.stack),
        }
        assert watch.of(alarm)[-1] == 1.0
        assert (alarm["Namespace"], alarm["MetricName"]) == (NAMESPACE, "RotationFailed")
        assert alarm["AlarmActions"] == [gateway.stack.outputs["Alarms"]]
        assert alarm["StateUpdatedTimestamp"] >= began.replace(microsecond=0)
    finally:
        gateway.secrets.put_secret_value(SecretId=gateway.client, SecretString=json.dumps(good))


def test_a_stack_in_which_nothing_is_wrong_has_no_alarm(end_to_end: Deployment) -> None:
    watch = Watch(end_to_end)
    end_to_end.rotate(end_to_end.client, within=40.0)
    await_condition(lambda: watch.alarm("SyncMissingAlarm")["StateValue"] == "OK", "a sync is seen", 20.0)
    states = {name: it["StateValue"] for name, it in watch.alarms().items() if name.startswith(watch.stack)}
    assert len(states) > 14
    assert [name for name, state in states.items() if state == "ALARM"] == []


def test_every_alarm_says_where_its_section_of_the_runbook_is(watch: Watch) -> None:
    for alarm in watch.alarms().values():
        assert " Runbook: docs/operations.md#" in alarm["AlarmDescription"]


def test_the_dashboard_is_there_and_its_alarms_are_the_stacks_own(gateway: Deployment, watch: Watch) -> None:
    name = gateway.stack.outputs["Dashboard"]
    body = json.loads(watch.cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"])
    (shown,) = [it["properties"]["alarms"] for it in body["widgets"] if it["type"] == "alarm"]
    assert sorted(shown) == sorted(it["AlarmArn"] for it in watch.alarms().values())


def test_a_mended_rotation_moves_the_alarm_back(gateway: Deployment, watch: Watch) -> None:
    """The alarm goes by the worse value of a minute, so what ends well must do so in the next."""
    gateway.await_rest(gateway.client)
    failed_at = max(run.finished_at for run in gateway.aws.rotations() if run.error and run.finished_at)
    over_at = failed_at.replace(second=0, microsecond=0) + timedelta(minutes=1)
    await_condition(lambda: datetime.now(UTC) >= over_at, "the minute is over", 65.0)
    start_or_take_up(gateway)
    await_condition(lambda: watch.alarm("RotationFailedAlarm")["StateValue"] == "OK", "the alarm clears", 30.0)
    await_condition(lambda: "AWSPENDING" not in gateway.labels(gateway.client), "the rotation ends", 30.0)


def start_or_take_up(gateway: Deployment) -> None:
    """Rotate; where the one that failed has been given up, Secrets Manager says that it takes that up again."""
    try:
        gateway.secrets.rotate_secret(SecretId=gateway.client)
    except gateway.secrets.exceptions.InvalidRequestException as error:
        if "previous rotation" not in str(error):
            raise


def test_days_to_expiry_are_measured_by_secret_and_by_anchor(gateway: Deployment, watch: Watch) -> None:
    gateway.await_rest(gateway.client)
    gateway.rotate(gateway.client, within=30.0)
    for secret in (gateway.client, gateway.ca):
        value = gateway.value(secret)
        name = gateway.secrets.describe_secret(SecretId=secret)["Name"]
        left = (datetime.fromisoformat(value["not_after"]) - datetime.now(UTC)) / timedelta(days=1)
        await_condition(
            lambda: (watch.days(secret=name) or 0) == pytest.approx(left, abs=0.02),  # noqa: B023 - in this turn
            f"{name} has {left:.2f} days",
            20.0,
        )
    (anchor,) = pki.from_pem(gateway.value(gateway.client)["anchor"])
    left = (anchor.not_valid_after_utc - datetime.now(UTC)) / timedelta(days=1)
    assert watch.days(anchor=pki.fingerprint(anchor)) == pytest.approx(left, abs=0.02)

    least = watch.of(watch.alarm("ClientExpiryAlarm"))[-1]
    assert 29 < least <= 30
    assert watch.alarm("ClientExpiryAlarm")["StateValue"] == "OK"


def test_one_query_shows_a_rotation_in_both_functions(gateway: Deployment, watch: Watch) -> None:
    gateway.await_rest(gateway.client)
    token = gateway.rotate(gateway.client, within=30.0)

    def services() -> set[str]:
        found = set()
        for logs in ("RotateLogs", "TruststoreSyncLogs"):
            pages = gateway.logs.get_paginator("filter_log_events").paginate(
                logGroupName=watch.resource(logs), filterPattern=f'"{token}"'
            )
            lines = [json.loads(event["message"]) for page in pages for event in page["events"] if _is_ours(event)]
            found |= {
                line["service"] for line in lines if token in (line.get("correlation_id"), *line.get("rotations", ()))
            }
        return found

    await_condition(lambda: services() == {"rotate", "truststore_sync"}, "the token in both logs", 20.0)


def _is_ours(event: Any) -> bool:
    return event["message"].startswith("{") and '"service"' in event["message"] and '"message"' in event["message"]
