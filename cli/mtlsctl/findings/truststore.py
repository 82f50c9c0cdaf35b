"""Checks of the truststore, the domains that run it, and what leads to a sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtlsctl.findings import DoctorCheck, DoctorContext, attention
from mtlsctl.findings.secrets import SURVEY
from mtlsctl.findings.survey import about_secret, about_target, about_truststore, acceptance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mtlsctl.report import Finding

_RULES = ("SyncRequestedRule", "LabelUpdatedRule", "StaticAnchorsRule", "DailyRule", "StackChangedRule")


def _targets_follow(context: DoctorContext) -> Iterator[Finding]:
    for target in context.survey.targets:
        yield from about_target(target, context.survey)


def _clients_are_accepted(context: DoctorContext) -> Iterator[Finding]:
    for secret in context.survey.secrets:
        yield from about_secret(secret, context.survey, (acceptance,))


def _anchors_are_well(context: DoctorContext) -> Iterator[Finding]:
    yield from about_truststore(context.survey)


def _default_endpoint_is_off(context: DoctorContext) -> Iterator[Finding]:
    api = context.physical("GatewayApi")
    if api and not context.client("apigateway").get_rest_api(restApiId=api).get("disableExecuteApiEndpoint"):
        yield attention(
            f"REST API {api}",
            "its default endpoint (execute-api) is on: whoever calls that is asked for no certificate",
            f"aws apigateway update-rest-api --rest-api-id {api} "
            "--patch-operations op=replace,path=/disableExecuteApiEndpoint,value=true",
        )


def _events_reach_the_sync(context: DoctorContext) -> Iterator[Finding]:
    events = context.client("events")
    queue = context.client("sqs").get_queue_attributes(
        QueueUrl=context.physical("SyncQueue"), AttributeNames=["QueueArn"]
    )["Attributes"]["QueueArn"]
    for rule in filter(None, map(context.physical, _RULES)):
        name = rule.rpartition("|")[2]
        try:
            state = events.describe_rule(Name=name)["State"]
        except events.exceptions.ResourceNotFoundException:
            yield attention(f"rule {name}", "it is gone", "Deploy the stack again.", "The truststore does not follow")
            continue
        if state != "ENABLED":
            yield attention(f"rule {name}", f"it is {state}", f"aws events enable-rule --name {name}")
        targets = events.list_targets_by_rule(Rule=name)["Targets"]
        if queue not in {target["Arn"] for target in targets}:
            yield attention(f"rule {name}", "it does not lead to the sync's queue", "Deploy the stack again.")
    mappings = context.client("lambda").list_event_source_mappings(
        FunctionName=context.functions["TruststoreSyncFunction"]
    )["EventSourceMappings"]
    if not any(it["EventSourceArn"] == queue and it["State"] in {"Enabled", "Enabling", "Updating"} for it in mappings):
        mapping = next((it["UUID"] for it in mappings if it["EventSourceArn"] == queue), None)
        yield attention(
            "truststore_sync",
            "it does not take from its queue" if mapping else "its queue is not mapped to it",
            f"aws lambda update-event-source-mapping --uuid {mapping} --enabled" if mapping else "Deploy again.",
            "The truststore does not follow",
        )


def _bucket_tells_of_changes(context: DoctorContext) -> Iterator[Finding]:
    bucket, s3 = context.deployment.outputs["BucketName"], context.client("s3")
    if s3.get_bucket_versioning(Bucket=bucket).get("Status") != "Enabled":
        yield attention(
            f"bucket {bucket}",
            "it keeps no versions, and a domain names the truststore by its version",
            f"aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled",
            "MTLS-305",
        )
    if "EventBridgeConfiguration" not in s3.get_bucket_notification_configuration(Bucket=bucket):
        yield attention(
            f"bucket {bucket}",
            "it sends no events, so uploads of anchors and revocations are noticed late or never",
            f"aws s3api put-bucket-notification-configuration --bucket {bucket} "
            "--notification-configuration '{\"EventBridgeConfiguration\": {}}'",
        )
    blocked = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    if not all(blocked.values()):
        yield attention(f"bucket {bucket}", "public access to it is not blocked", "Deploy the stack again.")


CHECKS = (
    DoctorCheck("every domain runs the published truststore, without warnings", SURVEY, _targets_follow),
    DoctorCheck("every domain accepts every current certificate", SURVEY, _clients_are_accepted),
    DoctorCheck("every anchor lasts, and everything uploaded is trusted", SURVEY, _anchors_are_well),
    DoctorCheck("the gateway can be reached by its domain name only", ("apigateway:GET",), _default_endpoint_is_off),
    DoctorCheck(
        "events reach the sync",
        ("events:DescribeRule", "events:ListTargetsByRule", "lambda:ListEventSourceMappings", "sqs:GetQueueAttributes"),
        _events_reach_the_sync,
    ),
    DoctorCheck(
        "the bucket keeps versions, tells of changes, and is private",
        ("s3:GetBucketVersioning", "s3:GetBucketNotification", "s3:GetBucketPublicAccessBlock"),
        _bucket_tells_of_changes,
    ),
)
