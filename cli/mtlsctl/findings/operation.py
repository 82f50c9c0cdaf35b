"""Checks of how it runs: the stack, its functions and what they may do, alarms, queues, clocks, keys."""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from shlex import quote
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mtls_rotation.contract.layout import SIGNED
from mtls_rotation.contract.tags import STACK_TAG
from mtls_rotation.timing import utc_now
from mtlsctl.findings import LATELY, DoctorCheck, DoctorContext, attention, unknown
from mtlsctl.findings.history import Failure, judged
from mtlsctl.report import PastFinding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mtlsctl.findings.history import Episode
    from mtlsctl.report import Finding

# AWS refuses what is signed with a clock that is five minutes off; a certificate's dates suffer before that.
CLOCK = timedelta(seconds=60)
# The action that was denied where the message names it, or the error's code.
_DENIED = re.compile(
    r"AccessDenied\w*(?=(?:.{0,999}?not authorized to perform:? (?P<action>[a-z0-9-]+:\w+))?)", re.DOTALL
)
# The policies that are resources of their own, and so can be detached from their roles.
_MANAGED_POLICIES = {"TruststoreSyncRole": "SyncPolicy", "RevocationRole": "RevocationPolicy"}
# So many rotations are named.
_NAMED = 3
_THROTTLES = "Functions are throttled"
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
    for logical_id, group in context.lost_logs.items():
        yield _without_log(context, logical_id, group)


def _without_log(context: DoctorContext, logical_id: str, group: str) -> Finding:
    """The roles may write into the stack's groups, and make none: until there is one, every line is lost.

    Metrics are made from the lines. https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format.html
    """
    parameters = context.deployment.parameters
    make = f"aws logs create-log-group --log-group-name {quote(group)}"
    if key := parameters.get("OperationKeyArn"):
        make += f" --kms-key-id {quote(key)}"
    if days := parameters.get("LogRetentionDays"):
        make += f" && aws logs put-retention-policy --log-group-name {quote(group)} --retention-in-days {quote(days)}"
    what = f"its log group {group} is gone, so nothing that it logs is kept, and no alarm that goes by it can ring"
    return attention(logical_id, what, make, "A log group was deleted")


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
                _allowing(context, role, arn, denied, resource),
            )


def _allowing(context: DoctorContext, role: str, arn: str, denied: list[str], resource: str) -> str:
    """What attaches a role's policy again, then what shows who denies. An unchanged deployment puts nothing back."""
    shown = _showing_who_denies(arn, denied, resource)
    if policy := context.physical(_MANAGED_POLICIES.get(role, "")):
        attached = f"aws iam attach-role-policy --role-name {context.physical(role)} --policy-arn {policy}"
        return f"{attached} && {shown}  # attaches the role's policy again; where it was, the second names what denies"
    return (
        f"{shown}  # names the policy that denies it; take that away, or put the role's own back as the template has it"
    )


def _showing_who_denies(arn: str, actions: list[str], resource: str) -> str:
    on = f" --resource-arns {quote(resource)}" if resource else ""
    which = f"--policy-source-arn {arn} --action-names {' '.join(actions)}"
    shown = "--query 'EvaluationResults[].[EvalDecision,MatchedStatements[].SourcePolicyId]'"
    return f"aws iam simulate-principal-policy {which}{on} {shown}"


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


def _nothing_is_denied(context: DoctorContext) -> Iterator[Finding | PastFinding]:
    yield from _mentioned(context, _DENIED, "was denied", _undenied)


def _undenied(context: DoctorContext, failure: Failure) -> str:
    """First what shows which policy it is, then what shows that it is mended."""
    action, resource = failure.call
    role = context.physical(f"{failure.function.removesuffix('Function')}Role")
    again = _again(context, failure)
    if not role or not action:
        return f"{again}  # once the function's role allows it: compare that with the template's"
    _, partition, _, _, account, *_ = context.deployment.outputs["RotateFunction"].split(":")
    shown = _showing_who_denies(f"arn:{partition}:iam::{account}:role/{role}", [action], resource)
    return f"{shown}  # names the policy that denies it; take that away, or put the role's own back, then: {again}"


def _again(context: DoctorContext, failure: Failure) -> str:
    """What has a function do again what failed."""
    bucket = context.deployment.outputs.get("BucketName", "BUCKET")
    match failure.function:
        case "RotateFunction" if failure.secret:
            return f"mtlsctl rotate {context.record.name(failure.secret)} --wait"
        case "RotateFunction":
            return "mtlsctl rotate client --wait"
        case "TruststoreSyncFunction":
            return "mtlsctl truststore sync --wait"
        case "RevocationFunction":
            return f"aws lambda invoke --function-name {context.physical(failure.function)} /dev/null"
        case "SignedCertificateFunction":
            return f"upload it again under s3://{bucket}/{SIGNED}"
        case "BootstrapFunction":
            return "deploy the stack again"
        case _:
            return "mtlsctl verify client"


def _nothing_is_throttled(context: DoctorContext) -> Iterator[Finding | PastFinding]:
    yield from _mentioned(
        context,
        _THROTTLED,
        "was throttled",
        lambda context, failure: f"{_again(context, failure)}  # if it is seldom; else ask AWS for a higher quota",
    )
    for logical_id, name in context.functions.items():
        yield from _turned_away(context, logical_id, name)


def _turned_away(context: DoctorContext, logical_id: str, name: str) -> Iterator[Finding | PastFinding]:
    """Whether Lambda has started the function again since it last turned it away."""
    throttles = {at: it for at, it in context.record.points(name, "Throttles", utc_now() - LATELY).items() if it}
    if not throttles:
        return
    last = max(throttles)
    ran = context.record.points(name, "Invocations", last)
    later = min((at for at, count in ran.items() if at > last and count), default=None)
    what = f"it was throttled {sum(throttles.values()):.0f} times in the last day"
    if later:
        yield PastFinding(subject=logical_id, what=what, at=last, mended=f"a run of {logical_id}", mended_at=later)
    else:
        again = _again(context, Failure(logical_id, last, ""))
        yield attention(
            logical_id, what, f"{again}  # if that is refused, raise the account's Lambda concurrency", _THROTTLES
        )


def _mentioned(
    context: DoctorContext, pattern: re.Pattern[str], verb: str, remedy: Callable[[DoctorContext, Failure], str]
) -> Iterator[Finding | PastFinding]:
    for function, failures in context.failures.items():
        matches = ((pattern.search(it.text), it) for it in failures)
        found = [(match.groupdict().get("action") or match[0], it) for match, it in matches if match]
        kinds: dict[tuple[str, bool], list[Episode]] = defaultdict(list)
        for episode in judged(found, context.record.since):
            kinds[episode.kind, episode.success is None].append(episode)
        for (what, goes_on), episodes in kinds.items():
            newest = max(episodes, key=lambda it: it.last.at)
            count = sum(len(it.failures) for it in episodes)
            said = f"{what} {verb}, {count} times in the last day{_in(context, episodes)}"
            if goes_on:
                yield attention(function, said, remedy(context, newest.last))
            elif success := newest.success:
                yield PastFinding(
                    subject=function, what=said, at=newest.last.at, mended=success.what, mended_at=success.at
                )


def _in(context: DoctorContext, episodes: list[Episode]) -> str:
    """In which rotations, where it was in some."""
    works = dict.fromkeys(
        f"{it.last.step or 'a step'} of {context.record.name(it.last.secret)}" for it in episodes if it.last.secret
    )
    more = f" and {len(works) - _NAMED} more" if len(works) > _NAMED else ""
    return f", in {', '.join(list(works)[:_NAMED])}{more}" if works else ""


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
                f"mtlsctl truststore sync --wait && aws sqs purge-queue --queue-url {quote(url)}",
                "Requests to sync were given up",
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
        ("lambda:GetFunctionConfiguration", "lambda:GetFunctionConcurrency", "logs:FilterLogEvents"),
        _functions_are_ready,
    ),
    DoctorCheck("the roles allow the work", ("iam:GetRole", "iam:SimulatePrincipalPolicy"), _roles_allow_the_work),
    DoctorCheck(
        "no call is denied",
        ("logs:FilterLogEvents", "cloudwatch:GetMetricStatistics", "iam:GetRole", "iam:SimulatePrincipalPolicy"),
        _nothing_is_denied,
    ),
    DoctorCheck(
        "nothing is throttled", ("logs:FilterLogEvents", "cloudwatch:GetMetricStatistics"), _nothing_is_throttled
    ),
    DoctorCheck("somebody is told when an alarm rings", ("sns:ListSubscriptionsByTopic",), _somebody_is_told),
    DoctorCheck("no alarm rings", ("cloudwatch:DescribeAlarms",), _no_alarm_rings),
    DoctorCheck("no request to sync was given up", ("sqs:GetQueueAttributes",), _no_letter_is_dead),
    DoctorCheck("this machine's clock agrees with AWS's", ("sts:GetCallerIdentity",), _clocks_agree),
    DoctorCheck("the secrets' key can be used", ("kms:DescribeKey",), _key_can_be_used),
)
