"""Cuts through the edges of a deployed stack, and what `mtlsctl doctor` is to say of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mtlsctl.findings.edges import ALARM


@dataclass(frozen=True)
class Stack:
    """What is cut.

    Attributes:
        client: gives a client of a service.
        resources: logical id → physical id.
        outputs: the stack's outputs.
    """

    client: Callable[[str], Any]
    resources: Mapping[str, str]
    outputs: Mapping[str, str]

    @property
    def queue(self) -> str:
        return self.resources["SyncQueue"]

    @property
    def api(self) -> str:
        return self.resources["GatewayApi"]

    def queue_policy(self, change: Callable[[dict[str, Any]], object] | None) -> None:
        """Change the queue's policy, or take it away."""
        sqs = self.client("sqs")
        policy = json.loads(
            sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["Policy"])["Attributes"]["Policy"]
        )
        if change:
            change(policy)
        text = json.dumps(policy) if change else ""
        sqs.set_queue_attributes(QueueUrl=self.queue, Attributes={"Policy": text})

    def forbid(self, function: str) -> None:
        """Take every statement out of a function's policy."""
        functions, name = self.client("lambda"), self.resources[function]
        for statement in json.loads(functions.get_policy(FunctionName=name)["Policy"])["Statement"]:
            functions.remove_permission(FunctionName=name, StatementId=statement["Sid"])

    def mapping(self) -> str:
        """The id of the queue's event source mapping."""
        name = self.resources["TruststoreSyncFunction"]
        found = self.client("lambda").list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        return str(found[0]["UUID"])

    def retarget(self, rule: str, **changes: str) -> None:
        """Change the one target of a rule; without changes, take it away."""
        events, name = self.client("events"), self.resources[rule]
        (target,) = events.list_targets_by_rule(Rule=name)["Targets"]
        if changes:
            events.put_targets(Rule=name, Targets=[target | changes])
        else:
            events.remove_targets(Rule=name, Ids=[target["Id"]])


@dataclass(frozen=True)
class Cut:
    """An edge that is cut.

    Attributes:
        name: what it is, in words.
        make: cuts it.
        subject: what the finding is about: the logical id of a resource.
        what: what the finding says, in part.
        of: cuts of one name exclude each other.
    """

    name: str
    make: Callable[[Stack], object]
    subject: str
    what: str
    of: str = ""

    def names(self, finding: Mapping[str, Any], stack: Stack) -> bool:
        """Whether a finding is about this edge."""
        names = {self.subject, stack.resources.get(self.subject, self.subject).rpartition("/")[2]}
        return self.what in finding["what"] and any(it in finding["subject"] for it in names)


def _allow_two_rules(policy: dict[str, Any]) -> None:
    for statement in policy["Statement"]:
        condition = statement.get("Condition", {}).get("ArnEquals", {})
        if "aws:SourceArn" in condition:
            condition["aws:SourceArn"] = condition["aws:SourceArn"][:2]


def _deny(policy: dict[str, Any]) -> None:
    denial = {"Sid": "Shut", "Effect": "Deny", "Principal": "*", "Action": "sqs:Send*", "Resource": "*"}
    policy["Statement"].append(denial)


def _delete_rule(stack: Stack) -> None:
    stack.retarget("RevocationFunctionNotice")
    stack.client("events").delete_rule(Name=stack.resources["RevocationFunctionNotice"])


def _narrow_rule(stack: Stack) -> None:
    pattern = {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": {"object": {"key": ["x"]}}}
    stack.client("events").put_rule(Name=stack.resources["StaticAnchorsRule"], EventPattern=json.dumps(pattern))


def _lead_authorizer_astray(stack: Stack) -> None:
    gateway = stack.client("apigateway")
    (authorizer,) = gateway.get_authorizers(restApiId=stack.api)["items"]
    operation = {"op": "replace", "path": "/authorizerUri", "value": f"{authorizer['authorizerUri']}x"}
    gateway.update_authorizer(restApiId=stack.api, authorizerId=authorizer["id"], patchOperations=[operation])
    gateway.create_deployment(restApiId=stack.api, stageName="live")


def _open_method(stack: Stack) -> None:
    gateway = stack.client("apigateway")
    root = next(it for it in gateway.get_resources(restApiId=stack.api)["items"] if it["path"] == "/")
    operation = {"op": "replace", "path": "/authorizationType", "value": "NONE"}
    gateway.update_method(restApiId=stack.api, resourceId=root["id"], httpMethod="GET", patchOperations=[operation])
    gateway.create_deployment(restApiId=stack.api, stageName="live")


def _silence_alarm(stack: Stack) -> None:
    alarms = stack.client("cloudwatch")
    (alarm,) = alarms.describe_alarms(AlarmNames=[stack.resources["SyncFailedAlarm"]])["MetricAlarms"]
    kept = {it: alarm[it] for it in ALARM if alarm.get(it) not in (None, [])}
    alarms.put_metric_alarm(**kept | {"AlarmActions": []})


def _remap(stack: Stack, **changes: Any) -> None:
    stack.client("lambda").update_event_source_mapping(UUID=stack.mapping(), **changes)


_FILTER = {"Filters": [{"Pattern": json.dumps({"body": {"wanted": [1]}})}]}
_KEPT_OUT = "does not let EventBridge in"
CUTS = (
    Cut(
        "the queue has no policy",
        lambda it: it.queue_policy(None),
        "SyncQueue",
        "does not let EventBridge in",
        "policy",
    ),
    Cut(
        "the queue's policy denies",
        lambda it: it.queue_policy(_deny),
        "SyncQueue",
        "does not let EventBridge",
        "policy",
    ),
    Cut(
        "the queue's policy names two rules",
        lambda it: it.queue_policy(_allow_two_rules),
        "SyncQueue",
        "does not let EventBridge in for",
        "policy",
    ),
    Cut(
        "the queue is under SQS's key",
        lambda it: it.client("sqs").set_queue_attributes(
            QueueUrl=it.queue, Attributes={"KmsMasterKeyId": "alias/aws/sqs"}
        ),
        "SyncQueue",
        "which EventBridge may not use",
    ),
    Cut(
        "a rule is disabled",
        lambda it: it.client("events").disable_rule(Name=it.resources["SyncRequestedRule"]),
        "SyncRequestedRule",
        "it is DISABLED",
    ),
    Cut("a rule tells nobody", lambda it: it.retarget("DailyRule"), "DailyRule", "it does not lead to the queue"),
    Cut(
        "a rule tells something else",
        lambda it: it.retarget("LabelUpdatedRule", Input="{}"),
        "LabelUpdatedRule",
        "it does not lead to the queue",
    ),
    Cut("a rule is gone", _delete_rule, "RevocationFunctionNotice", "it is gone"),
    Cut("a rule hears less", _narrow_rule, "StaticAnchorsRule", "it does not hear of all anchors"),
    Cut(
        "revocation lets no rule in",
        lambda it: it.forbid("RevocationFunction"),
        "RevocationFunction",
        "it does not let EventBridge in",
    ),
    Cut(
        "the intake lets no rule in",
        lambda it: it.forbid("SignedCertificateFunction"),
        "SignedCertificateFunction",
        "it does not let EventBridge in",
    ),
    Cut(
        "rotate lets no Secrets Manager in",
        lambda it: it.forbid("RotateFunction"),
        "RotateFunction",
        "Secrets Manager may not invoke it",
    ),
    Cut(
        "the authorizer lets no API Gateway in",
        lambda it: it.forbid("AuthorizerFunction"),
        "AuthorizerFunction",
        "it does not let API Gateway in",
    ),
    Cut(
        "the proxy lets no API Gateway in",
        lambda it: it.forbid("MtlsProxyFunction"),
        "MtlsProxyFunction",
        "it does not let API Gateway in",
    ),
    Cut(
        "the sync takes nothing", lambda it: _remap(it, Enabled=False), "truststore_sync", "it does not take", "mapping"
    ),
    Cut(
        "what the sync takes is filtered",
        lambda it: _remap(it, FilterCriteria=_FILTER),
        "truststore_sync",
        "what does not fit is lost",
        "filter",
    ),
    Cut(
        "the sync has no mapping",
        lambda it: it.client("lambda").delete_event_source_mapping(UUID=it.mapping()),
        "truststore_sync",
        "its queue is not mapped to it",
        "mapping",
    ),
    Cut(
        "the domain leads nowhere",
        lambda it: it.client("apigateway").delete_base_path_mapping(
            domainName=it.resources["GatewayDomain"], basePath="(none)"
        ),
        "GatewayDomain",
        "it leads to no API",
    ),
    Cut("the authorizer calls another function", _lead_authorizer_astray, "GatewayApi", "its authorizer calls"),
    Cut("a method asks no authorizer", _open_method, "GatewayApi", "it does not ask the stack's authorizer"),
    Cut(
        "the topic lets no alarm in",
        lambda it: it.client("sns").set_topic_attributes(
            TopicArn=it.outputs["Alarms"],
            AttributeName="Policy",
            AttributeValue=json.dumps({"Version": "2012-10-17", "Statement": []}),
        ),
        "the topic of alarms",
        "its policy does not let CloudWatch in",
    ),
    Cut("an alarm tells nobody", _silence_alarm, "SyncFailedAlarm", "it does not tell the topic"),
    Cut(
        "the bucket tells nobody",
        lambda it: it.client("s3").put_bucket_notification_configuration(
            Bucket=it.outputs["BucketName"], NotificationConfiguration={}
        ),
        "Bucket",
        "it sends no events",
    ),
)
