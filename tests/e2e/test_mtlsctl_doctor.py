"""`mtlsctl doctor` on a deployed stack: it finds whatever is broken, and nothing where nothing is."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from demo import sam
from demo.waiting import await_condition
from mtlsctl.commands.doctor import CHECKS, SENDING
from tests.e2e.test_mtlsctl_status import rotation_switched_off
from tests.kit.deployment import Deployment
from tests.kit.mtlsctl import Mtlsctl


class DoctorContext:
    """What the ailments below are done to."""

    def __init__(self, gateway: Deployment) -> None:
        self.gateway = gateway
        session: Any = sam.session(gateway.environment)
        self.client: Callable[[str], Any] = session.client
        pages = (
            self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=gateway.stack.name)
        )
        self.resources = {
            it["LogicalResourceId"]: it["PhysicalResourceId"] for page in pages for it in page["StackResourceSummaries"]
        }


@pytest.fixture(scope="module")
def context(gateway: Deployment) -> DoctorContext:
    """The stack once the alarm that misses a first sync has heard of one."""
    context = DoctorContext(gateway)
    alarms, name = context.client("cloudwatch"), context.resources["SyncMissingAlarm"]
    await_condition(
        lambda: alarms.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"] == "OK", "a sync", 60.0
    )
    return context


@pytest.fixture(scope="module")
def mtlsctl(context: DoctorContext) -> Mtlsctl:
    return Mtlsctl(context.gateway.environment, context.gateway.stack.name)


@pytest.fixture(scope="module")
def subscriber(context: DoctorContext) -> Iterator[None]:
    """Somebody who is told when an alarm rings."""
    queue = context.client("sqs").create_queue(QueueName="doctor")["QueueUrl"]
    arn = context.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    sns, topic = context.client("sns"), context.gateway.stack.outputs["Alarms"]
    subscribed = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["QueueArn"], ReturnSubscriptionArn=True)
    yield
    sns.unsubscribe(SubscriptionArn=subscribed["SubscriptionArn"])
    context.client("sqs").delete_queue(QueueUrl=queue)


def test_a_topic_without_subscribers_needs_attention(mtlsctl: Mtlsctl, context: DoctorContext) -> None:
    status, document = mtlsctl.json("doctor", "--read-only")

    assert (status, document["marked_events"]) == (1, False)
    assert [(it["subject"], it["what"]) for it in found(document)] == [
        ("the topic of alarms", "nobody is subscribed to it")
    ]
    assert found(document)[0]["remedy"].startswith("aws sns subscribe --topic-arn arn:aws:sns:")


@pytest.mark.usefixtures("subscriber")
def test_nothing_is_found_where_nothing_is_wrong(mtlsctl: Mtlsctl) -> None:
    ran = mtlsctl("doctor")

    assert (ran.exit_code, "✗" in ran.out, "?" in ran.out) == (0, False, False), ran.out
    assert "Nothing that is known to go wrong has gone wrong." in ran.out


# (what is broken, how, what the finding says)
type Ailment = tuple[str, Callable[[DoctorContext], Any], str]


# What makes an alarm, as DescribeAlarms shows it.
ALARM = (
    "AlarmName",
    "AlarmDescription",
    "ActionsEnabled",
    "OKActions",
    "AlarmActions",
    "MetricName",
    "Namespace",
    "Statistic",
    "Dimensions",
    "Period",
    "EvaluationPeriods",
    "Threshold",
    "ComparisonOperator",
    "TreatMissingData",
)


@contextmanager
def _default_endpoint(context: DoctorContext) -> Iterator[None]:
    def disable(value: str) -> None:
        operation = {"op": "replace", "path": "/disableExecuteApiEndpoint", "value": value}
        context.client("apigateway").update_rest_api(
            restApiId=context.resources["GatewayApi"], patchOperations=[operation]
        )

    disable("false")
    yield
    disable("true")


@contextmanager
def _dead_letter(context: DoctorContext) -> Iterator[None]:
    queue = context.resources["SyncDeadLetters"]
    context.client("sqs").send_message(QueueUrl=queue, MessageBody="{}")
    yield
    context.client("sqs").purge_queue(QueueUrl=queue)


@contextmanager
def _disabled_rule(context: DoctorContext) -> Iterator[None]:
    context.client("events").disable_rule(Name=context.resources["StaticAnchorsRule"])
    yield
    context.client("events").enable_rule(Name=context.resources["StaticAnchorsRule"])


@contextmanager
def _silent_bucket(context: DoctorContext) -> Iterator[None]:
    def notify(configuration: dict[str, Any]) -> None:
        context.client("s3").put_bucket_notification_configuration(
            Bucket=context.gateway.bucket, NotificationConfiguration=configuration
        )

    notify({})
    yield
    notify({"EventBridgeConfiguration": {}})


@contextmanager
def _denying_role(context: DoctorContext) -> Iterator[None]:
    actions = ["s3:PutObject", "apigateway:RemoveCertificateFromDomain"]
    denial = {"Effect": "Deny", "Action": actions, "Resource": "*"}
    role, iam = context.resources["TruststoreSyncRole"], context.client("iam")
    document = json.dumps({"Version": "2012-10-17", "Statement": [denial]})
    arn = iam.get_role(RoleName=role)["Role"]["Arn"]
    iam.put_role_policy(RoleName=role, PolicyName="boundary", PolicyDocument=document)

    def counts() -> bool:
        results = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=actions)["EvaluationResults"]
        return {it["EvalDecision"] for it in results} == {"explicitDeny"}

    await_condition(counts, "the denial counts", 30.0)
    yield
    iam.delete_role_policy(RoleName=role, PolicyName="boundary")


@contextmanager
def _uninvited(context: DoctorContext) -> Iterator[None]:
    functions, name = context.client("lambda"), context.resources["RotateFunction"]
    (statement,) = json.loads(functions.get_policy(FunctionName=name)["Policy"])["Statement"]
    functions.remove_permission(FunctionName=name, StatementId=statement["Sid"])
    yield
    functions.add_permission(
        FunctionName=name,
        StatementId=statement["Sid"],
        Action="lambda:InvokeFunction",
        Principal="secretsmanager.amazonaws.com",
        SourceAccount=statement["Condition"]["StringEquals"]["AWS:SourceAccount"],
    )


@contextmanager
def _held_back(context: DoctorContext) -> Iterator[None]:
    functions, name = context.client("lambda"), context.resources["RevocationFunction"]
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    yield
    functions.delete_function_concurrency(FunctionName=name)


@contextmanager
def _ringing(context: DoctorContext) -> Iterator[None]:
    """By a threshold that what comes in reaches: a state that is set lasts until then only."""
    alarms, name = context.client("cloudwatch"), context.resources["RevocationRefusedAlarm"]
    (described,) = alarms.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    as_it_is = {it: described[it] for it in ALARM if it in described}

    alarms.put_metric_alarm(**as_it_is | {"Threshold": 0.0})
    alarms.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
    yield
    alarms.put_metric_alarm(**as_it_is)
    alarms.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="a test")


@contextmanager
def _muted(context: DoctorContext) -> Iterator[None]:
    alarms, names = context.client("cloudwatch"), [context.resources["RevocationFailedAlarm"]]
    alarms.disable_alarm_actions(AlarmNames=names)
    yield
    alarms.enable_alarm_actions(AlarmNames=names)


@contextmanager
def _untagged_ca(context: DoctorContext) -> Iterator[None]:
    secrets, ca = context.gateway.secrets, context.gateway.ca
    secrets.untag_resource(SecretId=ca, TagKeys=["mtls-rotation:kind"])
    yield
    secrets.tag_resource(SecretId=ca, Tags=[{"Key": "mtls-rotation:kind", "Value": "ca"}])


@contextmanager
def _complaint(context: DoctorContext) -> Iterator[None]:
    """What the revocation function would log if it were denied a call and throttled."""
    logs, group = context.client("logs"), context.resources["RevocationLogs"]
    denied = "AccessDeniedException: ... is not authorized to perform: s3:PutObject on resource ..."
    lines = [{"level": "ERROR", "message": denied}, {"level": "ERROR", "message": "ThrottlingException: Rate exceeded"}]
    logs.create_log_stream(logGroupName=group, logStreamName="doctor")
    events = [{"timestamp": int(time.time() * 1000), "message": json.dumps(line)} for line in lines]
    logs.put_log_events(logGroupName=group, logStreamName="doctor", logEvents=events)
    yield
    logs.delete_log_stream(logGroupName=group, logStreamName="doctor")


AILMENTS: tuple[tuple[Callable[[DoctorContext], Any], str], ...] = (
    (lambda context: rotation_switched_off(context.gateway), "its rotation is switched off"),
    (_default_endpoint, "its default endpoint (execute-api) is on"),
    (_dead_letter, "1 requests to sync were given up"),
    (_disabled_rule, "it is DISABLED"),
    (_silent_bucket, "it sends no events"),
    (_denying_role, "it does not allow s3:PutObject on"),
    (_denying_role, "it does not allow apigateway:RemoveCertificateFromDomain on"),
    (_uninvited, "Secrets Manager may not invoke it"),
    (_held_back, "its reserved concurrency is 0"),
    (_ringing, "it rings:"),
    (_muted, "its actions are switched off"),
    (_untagged_ca, "lacks the tag mtls-rotation:kind=ca"),
    (_complaint, "s3:PutObject was denied, 1 times"),
    (_complaint, "was throttled, 1 times"),
    (_silent_bucket, "no marked event was sent through, as an edge is cut"),
)


@pytest.mark.usefixtures("subscriber")
def test_every_ailment_is_found_and_each_has_a_remedy(mtlsctl: Mtlsctl, context: DoctorContext) -> None:
    with ExitStack() as broken:
        for ailment in dict.fromkeys(ailment for ailment, _ in AILMENTS):
            broken.enter_context(ailment(context))
        status, document = mtlsctl.json("doctor")
        table = mtlsctl("doctor")

    assert (status, table.exit_code) == (1, 1)
    findings = found(document)
    assert [symptom for _, symptom in AILMENTS if not any(symptom in it["what"] for it in findings)] == []
    assert [it["what"] for it in findings if not any(symptom in it["what"] for _, symptom in AILMENTS)] == []
    for finding in findings:
        assert finding["remedy"]
        assert f"{finding['subject']}: {finding['what']}" in table.out


def test_what_the_credentials_may_not_see_could_not_be_told(mtlsctl: Mtlsctl, context: DoctorContext) -> None:
    allowed = ["cloudformation:*", "lambda:Get*", "secretsmanager:Describe*", "sts:*"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": allowed, "Resource": "*"}]}
    stranger = onlooker(mtlsctl, context, "stranger", policy)
    status, answers = stranger.json("doctor")

    assert status == 2
    assert {it["severity"] for it in found(answers)} == {"unknown"}
    (alarms,) = [it for it in found(answers) if it["subject"] == "no alarm rings"]
    assert (alarms["what"], alarms["remedy"]) == (
        "these credentials may not call DescribeAlarms",
        "It takes cloudwatch:DescribeAlarms.",
    )
    assert stranger("status").exit_code == 2


@pytest.mark.usefixtures("subscriber")
def test_the_documented_policy_is_all_that_status_and_doctor_need(mtlsctl: Mtlsctl, context: DoctorContext) -> None:
    document = (sam.ROOT / "docs" / "mtlsctl.md").read_text().partition("```json\n")[2].partition("```")[0]
    account = context.client("sts").get_caller_identity()["Account"]
    names = {"STACK": mtlsctl.stack, "BUCKET": context.gateway.bucket, "REGION": "us-east-1", "ACCOUNT": account}
    for name, value in names.items():
        document = document.replace(name, value)
    actions = {action for it in json.loads(document)["Statement"] for action in listed(it["Action"])}

    as_operator = onlooker(mtlsctl, context, "operator", json.loads(document))

    assert as_operator("status").exit_code == 0
    # What an ailment before has changed of a role counts a moment after it was put back.
    await_condition(lambda: as_operator("doctor").exit_code == 0, "an operator's doctor to find nothing", 30.0)
    # What every command needs, to find the stack and its settings, and what the checks name.
    base = {"cloudformation:DescribeStacks", "cloudformation:ListStackResources", "lambda:GetFunctionConfiguration"}
    assert actions == base.union(SENDING, *(check.needs for check in CHECKS))


def onlooker(mtlsctl: Mtlsctl, context: DoctorContext, name: str, policy: dict[str, Any]) -> Mtlsctl:
    """The command line of somebody who may do what the policy says."""
    iam = context.client("iam")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="look", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    theirs = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    return Mtlsctl({**mtlsctl.environment, **theirs}, mtlsctl.stack)


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def found(document: Any) -> list[dict[str, Any]]:
    return [finding for answer in document["answers"] for finding in answer["findings"]]
