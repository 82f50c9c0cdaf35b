"""Checks of each edge of each path: who tells whom, whether it is set so, and whether policies let it through.

The paths are those of `template.yaml`: rule → queue → function, rule → function, Secrets Manager → function, bucket →
rule, alarm → topic. `gateway_edges` has those of requests. What is deployed is read from the services themselves. A
deployment that changes nothing mends nothing of it, so each remedy is the command that does.
"""

from __future__ import annotations

import json
from shlex import quote
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mtlsctl.findings import DoctorCheck, DoctorContext, attention
from mtlsctl.findings.invoking import INVOKE, let_in, option, policy_of
from mtlsctl.stack import rules
from mtlsctl.stack.place import Place
from mtlsctl.stack.policies import ServiceCall, admits, denies, parsed, statements

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mtlsctl.report import Finding
    from mtlsctl.stack.policies import Document
    from mtlsctl.stack.rules import StackRule

_EVENTS, _SECRETS, _ALARMS = (f"{it}.amazonaws.com" for it in ("events", "secretsmanager", "cloudwatch"))
_SYNC, _REVOCATION, _ROTATION, _LAST = (
    "The truststore does not follow",
    "Revocation fails",
    "A rotation failed",
    "The stack cannot be made again under its name",
)
# What PutMetricAlarm takes of what DescribeAlarms tells.
ALARM = (
    "AlarmName",
    "AlarmDescription",
    "ActionsEnabled",
    "OKActions",
    "AlarmActions",
    "InsufficientDataActions",
    "MetricName",
    "Namespace",
    "Statistic",
    "ExtendedStatistic",
    "Dimensions",
    "Period",
    "Unit",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "Threshold",
    "ComparisonOperator",
    "TreatMissingData",
    "Metrics",
)


def rules_of(context: DoctorContext) -> list[tuple[StackRule, str]]:
    """The rules that this stack has, each with its name."""
    found = ((it, context.physical(it.rule)) for it in rules.RULES)
    return [(it, name.rpartition("|")[2]) for it, name in found if name]


# -- rules, and whom they tell


def _rules_tell(context: DoctorContext) -> Iterator[Finding]:
    events, place = context.client("events"), Place.of(context.deployment)
    names = rules.Names(context.deployment.name, context.deployment.stack_id, context.deployment.outputs["BucketName"])
    for it, name in rules_of(context):
        subject, runbook = f"rule {name}", _runbook_of(it)
        pattern = it.pattern(names)
        hears = f"--schedule-expression {quote(it.schedule)}" if pattern is None else option("event-pattern", pattern)
        put = f"aws events put-rule --name {name} --state ENABLED {hears}"
        target = _target_of(it, context, place)
        telling = {"Id": it.target_id or f"{it.rule}Target", "Arn": target}
        tell = f"aws events put-targets --rule {name} {option('targets', [telling])}"
        try:
            rule = events.describe_rule(Name=name)
        except events.exceptions.ResourceNotFoundException:
            yield attention(subject, f"it is gone, so nobody hears of {it.what}", f"{put} && {tell}", runbook)
            continue
        if rule["State"] == "DISABLED":
            yield attention(subject, "it is DISABLED", f"aws events enable-rule --name {name}", runbook)
        if not _hears(events, rule, it, pattern):
            yield attention(subject, f"it does not hear of all {it.what}", put, runbook)
        targets = events.list_targets_by_rule(Rule=name)["Targets"]
        if not any(_is_told(found, target) for found in targets):
            what = "queue" if it.into_queue else "function"
            yield attention(subject, f"it does not lead to the {what} {target}, as it is", tell, runbook)


def _target_of(it: StackRule, context: DoctorContext, place: Place) -> str:
    name = context.physical(it.target) or ""
    return place.arn("sqs", name.rpartition("/")[2]) if it.into_queue else place.function(name)


def _is_told(target: dict[str, Any], arn: str) -> bool:
    """Whether a rule's target is the one, and is told the event as it is, by the rule's own right."""
    return target["Arn"] == arn and not {"Input", "InputPath", "InputTransformer", "RoleArn"} & target.keys()


def _hears(events: Any, rule: dict[str, Any], it: StackRule, pattern: rules.Pattern | None) -> bool:
    if pattern is None:
        # Some other schedule may be meant; none, or a slower rate, is not.
        return rules.keeps_up(rule.get("ScheduleExpression", ""), it.schedule)
    deployed = rule.get("EventPattern", "")
    if not deployed:
        return False
    if rules.same(parsed(deployed), pattern):
        return True
    return all(
        events.test_event_pattern(EventPattern=deployed, Event=json.dumps(sample))["Result"]
        for sample in rules.samples(pattern)
    )


def _runbook_of(it: StackRule) -> str:
    if it.target == rules.REVOCATION:
        return _REVOCATION
    return "MTLS-207" if it.target == rules.INTAKE else _SYNC


# -- the queue of the sync


def _queue_takes_and_gives(context: DoctorContext) -> Iterator[Finding]:
    url, sqs, place = context.physical("SyncQueue") or "", context.client("sqs"), Place.of(context.deployment)
    queue = url.rpartition("/")[2]
    try:
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    except ClientError as error:
        if not error.response["Error"]["Code"].endswith(("NonExistentQueue", "QueueDoesNotExist")):
            raise
        yield attention(f"queue {queue}", "it is gone", f"aws sqs create-queue --queue-name {queue}", _SYNC)
        return
    arn, policy = attributes["QueueArn"], parsed(attributes.get("Policy"))
    sources = {name: place.arn("events", f"rule/{name}") for it, name in rules_of(context) if it.into_queue}
    calls = {name: ServiceCall(_EVENTS, "sqs:SendMessage", arn, source) for name, source in sources.items()}
    if out := [name for name, call in calls.items() if not admits(policy, call)]:
        mended = json.dumps({"Policy": json.dumps(queue_policy(policy, arn, list(calls.values())))})
        yield attention(
            f"queue {queue}",
            f"its policy does not let EventBridge in for {_some(out, len(calls), 'rules')}, so the sync is not told",
            f"aws sqs set-queue-attributes --queue-url {url} --attributes {quote(mended)}",
            _SYNC,
        )
    if key := attributes.get("KmsMasterKeyId"):
        change = f"aws sqs set-queue-attributes --queue-url {url} --attributes"
        yield attention(
            f"queue {queue}",
            f"it is encrypted under {key}, which EventBridge may not use, so the sync is not told",
            f"{change} KmsMasterKeyId= && {change} SqsManagedSseEnabled=true",
            _SYNC,
        )
    yield from _mapping(context, arn)


def queue_policy(policy: Document, queue: str, calls: list[ServiceCall]) -> dict[str, Any]:
    """The queue's policy as the template has it, and what else is in it that keeps EventBridge not out."""
    take = {
        "Sid": "TakeEventsFromTheStacksRules",
        "Effect": "Allow",
        "Principal": {"Service": _EVENTS},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": [it.source for it in calls]}},
    }
    return _policy(policy, calls, take, _no_plain_http("sqs:*", queue))


def _policy(policy: Document, calls: Iterable[ServiceCall], *ours: Document) -> dict[str, Any]:
    sids = [it["Sid"] for it in ours]
    kept = [
        it for it in statements(policy) if it.get("Sid") not in sids and not any(denies(it, call) for call in calls)
    ]
    return {"Version": "2012-10-17", "Statement": [*ours, *kept]}


def _no_plain_http(action: str, resource: str) -> dict[str, Any]:
    return {
        "Sid": "RefusePlainHttp",
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": resource,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def _mapping(context: DoctorContext, queue: str) -> Iterator[Finding]:
    """The edge from the queue to the function: its event source mapping."""
    name = context.functions["TruststoreSyncFunction"]
    found = context.client("lambda").list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    here = [it for it in found if it["EventSourceArn"] == queue]
    if not here:
        yield attention(
            "truststore_sync",
            "its queue is not mapped to it",
            f"aws lambda create-event-source-mapping --function-name {name} --event-source-arn {queue}"
            " --batch-size 1000 --maximum-batching-window-in-seconds 2 --scaling-config MaximumConcurrency=2"
            " --function-response-types ReportBatchItemFailures",
            _SYNC,
        )
        return
    change = f"aws lambda update-event-source-mapping --uuid {here[0]['UUID']}"
    if not any(it["State"] in {"Enabled", "Enabling", "Updating", "Creating"} for it in here):
        yield attention("truststore_sync", "it does not take from its queue", f"{change} --enabled", _SYNC)
    if any(it.get("FilterCriteria", {}).get("Filters") for it in here):
        what = "what it takes from its queue is filtered, and what does not fit is lost"
        yield attention("truststore_sync", what, f"{change} --filter-criteria '{{}}'", _SYNC)
    if not all("ReportBatchItemFailures" in it.get("FunctionResponseTypes", ()) for it in here):
        what = "what it could not do yet does not come again, as its failures are not asked for"
        yield attention("truststore_sync", what, f"{change} --function-response-types ReportBatchItemFailures", _SYNC)


# -- who may invoke the functions


def _functions_let_in(context: DoctorContext) -> Iterator[Finding]:
    yield from _secrets_manager_islet_in(context)
    place = Place.of(context.deployment)
    for it, name in rules_of(context):
        function = context.physical(it.target)
        if it.into_queue or not function:
            continue
        call = ServiceCall(_EVENTS, INVOKE, place.function(function), place.arn("events", f"rule/{name}"))
        policy = policy_of(context, function)
        if not admits(policy, call):
            what = f"it does not let EventBridge in for the rule {name}, so it does not hear of {it.what}"
            yield attention(it.target, what, let_in(function, policy, it.rule, call), _runbook_of(it))


def _secrets_manager_islet_in(context: DoctorContext) -> Iterator[Finding]:
    function, arn = context.functions["RotateFunction"], context.deployment.outputs["RotateFunction"]
    secrets = {
        it: context.deployment.outputs[it] for it in ("ClientSecret", "CaSecret") if it in context.deployment.outputs
    }
    policy = policy_of(context, function)
    calls = [ServiceCall(_SECRETS, INVOKE, arn, source) for source in secrets.values()]
    if not all(admits(policy, call) for call in calls):
        what = "Secrets Manager may not invoke it, so nothing is rotated"
        remedy = let_in(function, policy, "SecretsManagerMayInvokeRotate", calls[0], by_account=True)
        yield attention("RotateFunction", what, remedy, _ROTATION)


# -- the bucket


def _bucket_tells(context: DoctorContext) -> Iterator[Finding]:
    bucket, s3 = context.deployment.outputs["BucketName"], context.client("s3")
    told = s3.get_bucket_notification_configuration(Bucket=bucket)
    if "EventBridgeConfiguration" not in told:
        # What else the bucket tells goes on: the call replaces all of it.
        others = {key: value for key, value in told.items() if key.endswith("Configurations")}
        wanted = {**others, "EventBridgeConfiguration": {}}
        yield attention(
            f"bucket {bucket}",
            "it sends no events, so uploads of anchors and revocations are noticed late or never",
            f"aws s3api put-bucket-notification-configuration --bucket {bucket}"
            f" {option('notification-configuration', wanted)}",
            _SYNC,
        )


# -- alarms


def _alarms_are_heard(context: DoctorContext) -> Iterator[Finding]:
    topic, place = context.deployment.outputs["Alarms"], Place.of(context.deployment)
    names = [name for it, name in context.deployment.resources.items() if it.endswith("Alarm") and name]
    attributes = context.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]
    policy = parsed(attributes.get("Policy"))
    calls = [ServiceCall(_ALARMS, "sns:Publish", topic, place.arn("cloudwatch", f"alarm:{name}")) for name in names]
    if not all(admits(policy, call) for call in calls):
        mended = json.dumps(_topic_policy(policy, topic, place, calls))
        yield attention(
            "the topic of alarms",
            "its policy does not let CloudWatch in, so nobody hears an alarm",
            f"aws sns set-topic-attributes --topic-arn {topic} --attribute-name Policy"
            f" --attribute-value {quote(mended)}",
        )
    metrics = context.client("cloudwatch")
    for start in range(0, len(names), 100):
        some = names[start : start + 100]
        found = metrics.describe_alarms(AlarmNames=some)["MetricAlarms"]
        for name in sorted(set(some) - {it["AlarmName"] for it in found}):
            yield attention(f"alarm {name}", "it is gone", f"mtlsctl explain {quote(_LAST)}", _LAST)
        for alarm in found:
            if topic not in alarm.get("AlarmActions", []):
                actions = [*alarm.get("AlarmActions", []), topic]
                wanted = {it: alarm[it] for it in ALARM if alarm.get(it) not in (None, [])} | {"AlarmActions": actions}
                yield attention(
                    f"alarm {alarm['AlarmName']}",
                    "it does not tell the topic, so nobody hears it",
                    f"aws cloudwatch put-metric-alarm {option('cli-input-json', wanted)}",
                )


def _topic_policy(policy: Document, topic: str, place: Place, calls: list[ServiceCall]) -> dict[str, Any]:
    take = {
        "Sid": "TakeAlarmsOfThisAccount",
        "Effect": "Allow",
        "Principal": {"Service": _ALARMS},
        "Action": "sns:Publish",
        "Resource": topic,
        "Condition": {
            "StringEquals": {"aws:SourceAccount": place.account},
            "ArnLike": {"aws:SourceArn": place.arn("cloudwatch", "alarm:*")},
        },
    }
    return _policy(policy, calls, take, _no_plain_http("sns:Publish", topic))


def _some(names: list[str], of: int, what: str) -> str:
    return f"any of its {of} {what}" if len(names) == of else ", ".join(names)


CHECKS = (
    DoctorCheck(
        "every rule hears its events, and tells whom it is to tell",
        ("events:DescribeRule", "events:ListTargetsByRule", "events:TestEventPattern"),
        _rules_tell,
    ),
    DoctorCheck(
        "events reach the sync",
        ("sqs:GetQueueAttributes", "lambda:ListEventSourceMappings"),
        _queue_takes_and_gives,
    ),
    DoctorCheck("the bucket tells of changes", ("s3:GetBucketNotification",), _bucket_tells),
    DoctorCheck("every function lets in who is to invoke it", ("lambda:GetPolicy",), _functions_let_in),
    DoctorCheck("alarms reach the topic", ("sns:GetTopicAttributes", "cloudwatch:DescribeAlarms"), _alarms_are_heard),
)
