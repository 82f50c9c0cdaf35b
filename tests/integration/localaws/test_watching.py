"""CloudWatch: metrics in log lines, alarms that go by them, and both in templates."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from localaws.cloudwatch.alarms import decide
from localaws.cloudwatch.embedded_metrics import Datum, extract
from tests.integration.localaws.conftest import Client
from tests.integration.localaws.support import wait_until, zipped


def line(namespace: str = "N", *, dimensions: list[list[str]] | None = None, **values: Any) -> str:
    names = [name for name in values if name[0].isupper()]
    directive = {
        "Namespace": namespace,
        "Dimensions": [["service"]] if dimensions is None else dimensions,
        "Metrics": [{"Name": name, "Unit": "Count"} for name in names],
    }
    metadata = {"Timestamp": 1_700_000_000_000, "CloudWatchMetrics": [directive]}
    return json.dumps({"_aws": metadata, "service": "s"} | values)


# the format -----------------------------------------------------------------------------------------------------------


def test_a_line_of_the_format_holds_its_metrics_with_every_set_of_dimensions() -> None:
    found = list(extract(line(dimensions=[["service"], ["service", "step"]], step="set", Done=[1, 2.5], Took=3)))
    assert found == [
        Datum("N", name, dimensions, 1_700_000_000.0, "Count", values)
        for dimensions in ({"service": "s"}, {"service": "s", "step": "set"})
        for name, values in (("Done", [1.0, 2.5]), ("Took", [3.0]))
    ]


@pytest.mark.parametrize(
    "message",
    [
        "no JSON with _aws",
        '{"_aws": "text"}',
        '{"_aws": {"CloudWatchMetrics": []}}',
        "before " + line(Done=1),
        line(dimensions=[["absent"]], Done=1),
        line(dimensions=[["number"]], number=1, Done=1),
        line(Done="text"),
        line(Done=True),
        line(Done=[1] * 101),
    ],
)
def test_what_is_not_of_the_format_holds_none(message: str) -> None:
    assert list(extract(message)) == []


def test_what_a_function_prints_becomes_a_metric(client: Client) -> None:
    functions, namespace = client("lambda"), uuid.uuid4().hex
    name = f"f-{namespace[:8]}"
    text = line(namespace, Done=[2]).replace("1700000000000", str(round(time.time() * 1000)))
    functions.create_function(
        FunctionName=name,
        Runtime="python3.13",
        Handler="app.handler",
        Role="arn:aws:iam::123456789012:role/any",
        Code={"ZipFile": zipped(f"def handler(event, context):\n    print({text!r})\n")},
    )
    functions.invoke(FunctionName=name)
    assert wait_until(lambda: statistic(client, namespace, "Done", service="s")) == [2.0]
    assert statistic(client, namespace, "Done", service="other") == []


def test_what_is_put_into_a_log_becomes_a_metric_too(client: Client) -> None:
    logs, namespace = client("logs"), uuid.uuid4().hex
    logs.create_log_group(logGroupName=namespace)
    logs.create_log_stream(logGroupName=namespace, logStreamName="s")
    now = round(time.time() * 1000)
    text = line(namespace, Done=1).replace("1700000000000", str(now))
    logs.put_log_events(
        logGroupName=namespace, logStreamName="s", logEvents=[{"timestamp": now, "message": it} for it in (text, text)]
    )
    assert statistic(client, namespace, "Done", service="s") == [2.0]


def statistic(client: Client, namespace: str, name: str, **dimensions: str) -> list[float]:
    """The sum in the period that the metric has."""
    now = datetime.now(UTC)
    answer = client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=1),
        Period=3600,
        Statistics=["Sum"],
    )
    return [point["Sum"] for point in answer["Datapoints"]]


# alarms ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "periods", "to_alarm", "missing", "state"),
    [
        # there: whether the values that there are breach, newest first
        ([True], 1, 1, "ignore", "ALARM"),
        ([False, True], 1, 1, "ignore", "OK"),
        ([], 1, 1, "ignore", None),
        ([], 1, 1, "notBreaching", "OK"),
        ([], 1, 1, "breaching", "ALARM"),
        ([], 1, 1, "missing", "INSUFFICIENT_DATA"),
        ([True, True, False], 3, 2, "missing", "ALARM"),
        ([True, False, False], 3, 2, "missing", "OK"),
        ([False], 26, 26, "breaching", "OK"),
        ([True] * 5, 26, 26, "breaching", "ALARM"),
        ([True], 2, 2, "notBreaching", "OK"),
    ],
)
def test_an_alarms_state_follows_from_its_values_and_from_how_missing_ones_are_treated(
    there: list[bool], periods: int, to_alarm: int, missing: str, state: str | None
) -> None:
    assert decide(there, periods, to_alarm, missing) == state


ALARM = {
    "Type": "AWS::CloudWatch::Alarm",
    "Properties": {
        "Namespace": {"Ref": "AWS::StackName"},
        "MetricName": "Failed",
        "Dimensions": [{"Name": "service", "Value": "one"}],
        "Statistic": "Maximum",
        "Period": 3600,
        "EvaluationPeriods": 1,
        "Threshold": 1,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "ignore",
        "AlarmActions": [{"Ref": "Topic"}],
        "OKActions": [{"Ref": "Topic"}],
    },
}


def stat(name: str, identifier: str) -> dict[str, Any]:
    metric = {"Namespace": {"Ref": "AWS::StackName"}, "MetricName": name}
    return {"Id": identifier, "ReturnData": False, "MetricStat": {"Metric": metric, "Period": 3600, "Stat": "Sum"}}


MATH = {
    "Type": "AWS::CloudWatch::Alarm",
    "Properties": {
        "Metrics": [
            {"Id": "watched", "Expression": "errors - FILL(known, 0)"},
            stat("Errors", "errors"),
            stat("Known", "known"),
        ],
        "EvaluationPeriods": 1,
        "Threshold": 1,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "notBreaching",
    },
}
DASHBOARD = {
    "Type": "AWS::CloudWatch::Dashboard",
    "Properties": {"DashboardName": {"Ref": "AWS::StackName"}, "DashboardBody": '{"widgets": []}'},
}


@pytest.fixture(scope="module")
def deployed(client: Client) -> Iterator[str]:
    """A stack with both kinds of alarm, a topic and a dashboard; its name, which is its metrics' namespace too."""
    name, stacks = f"w-{uuid.uuid4().hex[:8]}", client("cloudformation")
    resources = {"Topic": {"Type": "AWS::SNS::Topic"}, "Alarm": ALARM, "Math": MATH, "Board": DASHBOARD}
    stacks.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": resources}))

    def status() -> str:
        return str(stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])

    wait_until(lambda: not status().endswith("IN_PROGRESS"))
    assert status() == "CREATE_COMPLETE"
    yield name
    stacks.delete_stack(StackName=name)


def alarm_of(client: Client, stack: str, logical_id: str) -> dict[str, Any]:
    answer = client("cloudformation").describe_stack_resource(StackName=stack, LogicalResourceId=logical_id)
    name = answer["StackResourceDetail"]["PhysicalResourceId"]
    (found,) = client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return dict(found)


def put(client: Client, stack: str, name: str, value: float, **dimensions: str) -> None:
    named = [{"Name": key, "Value": text} for key, text in dimensions.items()]
    data = [{"MetricName": name, "Dimensions": named, "Value": value}]
    client("cloudwatch").put_metric_data(Namespace=stack, MetricData=data)


def test_an_alarm_goes_by_the_metric_with_its_dimensions_alone_and_tells_its_topic(
    client: Client, deployed: str
) -> None:
    sns, sqs = client("sns"), client("sqs")
    (topic,) = alarm_of(client, deployed, "Alarm")["AlarmActions"]
    queue = sqs.create_queue(QueueName=deployed)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    put(client, deployed, "Failed", 1, service="other")
    assert alarm_of(client, deployed, "Alarm")["StateValue"] == "INSUFFICIENT_DATA"
    put(client, deployed, "Failed", 1, service="one")
    assert alarm_of(client, deployed, "Alarm")["StateValue"] == "ALARM"
    (message,) = wait_until(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
    assert json.loads(json.loads(message["Body"])["Message"])["NewStateValue"] == "ALARM"


def test_an_alarm_on_metric_math_goes_by_its_expression(client: Client, deployed: str) -> None:
    alarm = alarm_of(client, deployed, "Math")
    assert (alarm["StateValue"], [it["Id"] for it in alarm["Metrics"]]) == ("OK", ["watched", "errors", "known"])
    put(client, deployed, "Errors", 1)
    assert alarm_of(client, deployed, "Math")["StateValue"] == "ALARM"
    put(client, deployed, "Known", 1)
    assert alarm_of(client, deployed, "Math")["StateValue"] == "OK"


def test_a_dashboard_of_a_template_is_there(client: Client, deployed: str) -> None:
    assert client("cloudwatch").get_dashboard(DashboardName=deployed)["DashboardBody"] == '{"widgets": []}'
