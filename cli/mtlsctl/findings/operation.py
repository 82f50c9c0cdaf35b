"""Checks of how it runs: the stack, its functions and what they may do, alarms, queues, clocks, keys."""

from __future__ import annotations

import re
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mtls_rotation.contract.tags import STACK_TAG
from mtls_rotation.timing import utc_now
from mtlsctl.findings import LATELY, DoctorCheck, DoctorContext, attention, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mtlsctl.report import Finding

# AWS refuses what is signed with a clock that is five minutes off; a certificate's dates suffer before that.
CLOCK = timedelta(seconds=60)
# The action that was denied where the message names it, or the error's code.
_DENIED = re.compile(
    r"AccessDenied\w*(?=(?:.{0,999}?not authorized to perform:? (?P<action>[a-z0-9-]+:\w+))?)", re.DOTALL
)
_THROTTLED = re.compile(r"Throttling\w*|TooManyRequests\w*|Rate exceeded|SlowDown")


def _stack_is_settled(context: DoctorContext) -> Iterator[Finding]:
    state = context.deployment.state
    if state.endswith("_IN_PROGRESS"):
        yield unknown(f"stack {context.deployment.name}", f"it is {state}", "Ask again when that is over.")
    elif state not in {"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}:
        yield attention(f"stack {context.deployment.name}", f"it is {state}", "Read its events, and deploy again.")


def _functions_are_ready(context: DoctorContext) -> Iterator[Finding]:
    functions = context.client("lambda")
    for logical_id, name in context.functions.items():
        try:
            settings = functions.get_function_configuration(FunctionName=name)
        except functions.exceptions.ResourceNotFoundException:
            yield attention(logical_id, f"the function {name} is gone", "Deploy the stack again.")
            continue
        state, update = settings.get("State", "Active"), settings.get("LastUpdateStatus", "Successful")
        if state == "Failed" or update == "Failed":
            reason = settings.get("StateReason") or settings.get("LastUpdateStatusReason") or "no reason is given"
            yield attention(logical_id, f"it is {state}, its last update {update}: {reason}", "Deploy the stack again.")
        reserved = functions.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions")
        if reserved == 0:
            yield attention(
                logical_id,
                "it is held back: its reserved concurrency is 0",
                f"aws lambda delete-function-concurrency --function-name {name}",
            )


def _roles_allow_the_work(context: DoctorContext) -> Iterator[Finding]:
    """By IAM's own simulator, what each role must be allowed: a boundary or a changed policy shows here."""
    iam = context.client("iam")
    tag = {
        "ContextKeyName": f"aws:ResourceTag/{STACK_TAG}",
        "ContextKeyValues": [context.deployment.name],
        "ContextKeyType": "string",
    }
    for role, actions, resource in _duties(context):
        name = context.physical(role)
        if name is None:
            continue
        arn = iam.get_role(RoleName=name)["Role"]["Arn"]
        results = iam.simulate_principal_policy(
            PolicySourceArn=arn, ActionNames=list(actions), ResourceArns=[resource], ContextEntries=[tag]
        )["EvaluationResults"]
        denied = sorted(it["EvalActionName"] for it in results if it["EvalDecision"] != "allowed")
        if denied:
            yield attention(
                role,
                f"it does not allow {', '.join(denied)} on {resource}",
                "Was the role, or a permissions boundary, changed? Deploy the stack again.",
            )


def _duties(context: DoctorContext) -> Iterator[tuple[str, tuple[str, ...], str]]:
    outputs = context.deployment.outputs
    bucket = f"arn:{_partition(outputs['RotateFunction'])}:s3:::{outputs['BucketName']}"
    yield (
        "RotateRole",
        (
            "secretsmanager:DescribeSecret",
            "secretsmanager:GetSecretValue",
            "secretsmanager:PutSecretValue",
            "secretsmanager:UpdateSecretVersionStage",
        ),
        outputs["ClientSecret"],
    )
    yield "RotateRole", ("s3:PutObject",), f"{bucket}/issued/simulated.pem"
    yield "TruststoreSyncRole", ("s3:GetObject", "s3:PutObject"), f"{bucket}/truststore.pem"
    yield "TruststoreSyncRole", ("s3:PutObject",), f"{bucket}/truststore.txt"
    yield "TruststoreSyncRole", ("s3:ListBucket",), bucket
    if "CaSecret" in outputs:
        yield "RotateRole", ("secretsmanager:GetSecretValue",), outputs["CaSecret"]
    if domain := context.physical("GatewayDomain"):
        region, partition = context.deployment.region, _partition(outputs["RotateFunction"])
        domains = f"arn:{partition}:apigateway:{region}::/domainnames"
        # An update of a truststore takes both beside PATCH. AWS does not say on which of the two resources.
        guards = ("apigateway:AddCertificateToDomain", "apigateway:RemoveCertificateFromDomain")
        yield "TruststoreSyncRole", ("apigateway:GET", "apigateway:PATCH", *guards), f"{domains}/{domain}"
        yield "TruststoreSyncRole", guards, domains


def _nothing_was_denied(context: DoctorContext) -> Iterator[Finding]:
    yield from _mentioned(
        context, _DENIED, "was denied", "Compare the function's role with the template's, or deploy the stack again."
    )


def _nothing_was_throttled(context: DoctorContext) -> Iterator[Finding]:
    yield from _mentioned(
        context, _THROTTLED, "was throttled", "By itself, if it is seldom; otherwise ask AWS for a higher quota."
    )
    metrics, now = context.client("cloudwatch"), utc_now()
    for logical_id, name in context.functions.items():
        points = metrics.get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName="Throttles",
            Dimensions=[{"Name": "FunctionName", "Value": name}],
            StartTime=now - LATELY,
            EndTime=now,
            Period=int(LATELY.total_seconds()),
            Statistics=["Sum"],
        )["Datapoints"]
        if count := sum(point["Sum"] for point in points):
            yield attention(
                logical_id,
                f"it was throttled {count:.0f} times in the last day",
                "Raise the account's Lambda concurrency, or find what uses it up.",
            )


def _mentioned(context: DoctorContext, pattern: re.Pattern[str], verb: str, remedy: str) -> Iterator[Finding]:
    for function, lines in context.complaints.items():
        found: dict[str, int] = {}
        for line in lines:
            if match := pattern.search(f"{line.get('exception', '')} {line.get('message', '')}"):
                what = match.groupdict().get("action") or match[0]
                found[what] = found.get(what, 0) + 1
        for what, count in found.items():
            yield attention(function, f"{what} {verb}, {count} times in the last day", remedy)


def _somebody_is_told(context: DoctorContext) -> Iterator[Finding]:
    topic = context.deployment.outputs.get("Alarms")
    if not topic:
        return
    subscriptions = context.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    if not any(it["SubscriptionArn"].startswith("arn:") for it in subscriptions):
        waiting = f"; {len(subscriptions)} wait to be confirmed" if subscriptions else ""
        yield attention(
            "the topic of alarms",
            f"nobody is subscribed to it{waiting}",
            f"aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint you@example.com",
        )


def _no_alarm_rings(context: DoctorContext) -> Iterator[Finding]:
    names = [name for it, name in context.deployment.resources.items() if it.endswith("Alarm") and name]
    metrics = context.client("cloudwatch")
    for start in range(0, len(names), 100):
        for alarm in metrics.describe_alarms(AlarmNames=names[start : start + 100])["MetricAlarms"]:
            if alarm["StateValue"] == "ALARM":
                what = alarm.get("AlarmDescription", "")
                yield attention(alarm["AlarmName"], f"it rings: {what}", f"mtlsctl explain {alarm['AlarmName']}")
            if not alarm.get("ActionsEnabled", True):
                yield attention(
                    alarm["AlarmName"],
                    "its actions are switched off, so nobody hears it",
                    f"aws cloudwatch enable-alarm-actions --alarm-names {alarm['AlarmName']}",
                )


def _no_letter_is_dead(context: DoctorContext) -> Iterator[Finding]:
    queues = {it: url for it, url in context.deployment.resources.items() if it.endswith("DeadLetters") and url}
    for logical_id, url in queues.items():
        attributes = context.client("sqs").get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
        )["Attributes"]
        if count := int(attributes["ApproximateNumberOfMessages"]):
            yield attention(
                logical_id,
                f"{count} requests to sync were given up",
                f"Mend what the log of truststore_sync says, then: aws sqs purge-queue --queue-url {url}",
                "The truststore does not follow",
            )


def _clocks_agree(context: DoctorContext) -> Iterator[Finding]:
    try:
        answer = context.client("sts").get_caller_identity()
    except ClientError as error:
        answer = error.response
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if not date:
        yield unknown("this machine", "AWS's answer bears no date", "Compare its clock yourself.")
        return
    off = utc_now() - parsedate_to_datetime(date).astimezone(UTC)
    if abs(off) > CLOCK:
        yield attention(
            "this machine",
            f"its clock is {abs(off).total_seconds():.0f} s {'ahead of' if off > timedelta(0) else 'behind'} AWS's",
            "Have it set by NTP; an application whose clock is off refuses good certificates.",
        )


def _key_can_be_used(context: DoctorContext) -> Iterator[Finding]:
    key = context.physical("Key")
    if key and (state := context.client("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"]) != "Enabled":
        verb = "cancel-key-deletion" if state == "PendingDeletion" else "enable-key"
        yield attention(f"KMS key {key}", f"it is {state}; no secret can be read", f"aws kms {verb} --key-id {key}")


def _partition(arn: str) -> str:
    return arn.split(":", 2)[1]


CHECKS = (
    DoctorCheck("the stack is settled", ("cloudformation:DescribeStacks",), _stack_is_settled),
    DoctorCheck(
        "every function is ready",
        ("lambda:GetFunctionConfiguration", "lambda:GetFunctionConcurrency"),
        _functions_are_ready,
    ),
    DoctorCheck("the roles allow the work", ("iam:GetRole", "iam:SimulatePrincipalPolicy"), _roles_allow_the_work),
    DoctorCheck("no call was denied in the last day", ("logs:FilterLogEvents",), _nothing_was_denied),
    DoctorCheck(
        "nothing was throttled in the last day",
        ("logs:FilterLogEvents", "cloudwatch:GetMetricStatistics"),
        _nothing_was_throttled,
    ),
    DoctorCheck("somebody is told when an alarm rings", ("sns:ListSubscriptionsByTopic",), _somebody_is_told),
    DoctorCheck("no alarm rings", ("cloudwatch:DescribeAlarms",), _no_alarm_rings),
    DoctorCheck("no request to sync was given up", ("sqs:GetQueueAttributes",), _no_letter_is_dead),
    DoctorCheck("this machine's clock agrees with AWS's", ("sts:GetCallerIdentity",), _clocks_agree),
    DoctorCheck("the secrets' key can be used", ("kms:DescribeKey",), _key_can_be_used),
)
