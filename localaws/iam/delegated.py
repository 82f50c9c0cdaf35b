"""What services do for a role or a caller, and whether that principal may. The emulator does it without asking.

Only with IAM enforced. What a service may do as itself, the policy of the resource says.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from ministack import app as emulator
from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.core.router import extract_access_key_id
from ministack.services import lambda_svc, sns, sqs

from localaws.asgi import Answer, Handler, Headers, Query, ServiceError
from localaws.iam import actions, authorizations, function_policies, permissions

type _Call = Callable[..., Any]

_EVENTS, _ALARMS = "events.amazonaws.com", "cloudwatch.amazonaws.com"
# https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html
_TRACING = ("xray:PutTraceSegments", "xray:PutTelemetryRecords")
_rule: ContextVar[str] = ContextVar("localaws_rule", default="")
_alarm: ContextVar[str] = ContextVar("localaws_alarm", default="")
logger = logging.getLogger("localaws.iam.delegated")


def role_may(role_arn: str, action: str, resource: str) -> bool:
    """Whether a role may do what a service does in its name."""
    if not emulator.AUTH:
        return True
    account, name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    policies = iam_evaluator._gather_role_policies(name, account)
    context = iam_evaluator.EvalContext(
        principal_arn=f"arn:aws:sts::{account}:assumed-role/{name}/service",
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=resource,
        region=get_region(),
        secure_transport=True,
    )
    if iam_evaluator.evaluate(context, policies).decision != "Allow":
        logger.warning("%s may not %s on %s", name, action, resource)
        return False
    authorizations.note_role(context, policies)
    return True


def may(caller: str | None, action: str, resource: str, keys: Mapping[str, str | list[str]] | None = None) -> bool:
    """Whether a caller has a further permission that a call takes.

    Args:
        caller: the access key; None for what CloudFormation does, which acts as the account here.
        action: with its service's prefix.
        resource: the ARN.
        keys: condition keys.
    """
    if not emulator.AUTH or not caller:
        return True
    service = action.partition(":")[0]
    return iam_evaluator.enforce(caller, action, service, get_region(), resource, dict(keys or {})) is None


def require(caller: str | None, action: str, resource: str, keys: Mapping[str, str | list[str]] | None = None) -> None:
    """Raise AWS's error unless the caller has a further permission that a call takes. Arguments as of `may`."""
    if not may(caller, action, resource, keys):
        raise ServiceError(
            "AccessDeniedException", f"The caller is not authorized to perform {action} on resource {resource}."
        )


def require_further(
    caller: str | None,
    call: str,
    on: Iterable[str],
    *,
    parameters: Collection[str] = (),
    service: str = "",
    keys: Mapping[str, str | list[str]] | None = None,
) -> None:
    """Raise AWS's error unless the caller has what a call takes beside its own action, on each of some resources.

    Args:
        caller: as of `may`.
        call: service and operation, as in the table of `permissions`.
        on: ARNs.
        parameters: those of the request.
        service: only the further actions of this service.
        keys: as of `may`.
    """
    for resource in on:
        for action in permissions.further(call, parameters, service):
            require(caller, action, resource, keys)


# -- Lambda in the name of a function's role


def emit_lambda_logs(emulated: _Call, function: dict[str, Any], *rest: Any, **named: Any) -> None:
    """Write a function's logs, if its role may."""
    config = function.get("config") or function
    group = (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{config.get('FunctionName')}"
    stream = f"arn:aws:logs:{get_region()}:{get_account_id()}:log-group:{group}:log-stream:any"
    role = config.get("Role", "")
    if (config.get("TracingConfig") or {}).get("Mode") == "Active":
        # There is no X-Ray here: the question is whether the traces would arrive.
        all(role_may(role, action, "*") for action in _TRACING)
    if all(role_may(role, action, stream) for action in ("logs:CreateLogStream", "logs:PutLogEvents")):
        emulated(function, *rest, **named)


def receive_messages(emulated: _Call, queue_url: str, *rest: Any) -> Any:
    """Receive messages for a function, if its role may."""
    permitted = _pollers_may(queue_url, "sqs:GetQueueAttributes", "sqs:ReceiveMessage")
    return emulated(queue_url, *rest) if permitted else []


def delete_messages(emulated: _Call, queue_url: str, *rest: Any) -> Any:
    """Delete messages for a function, if its role may."""
    return emulated(queue_url, *rest) if _pollers_may(queue_url, "sqs:DeleteMessage") else []


def _pollers_may(queue_url: str, *actions: str) -> bool:
    """Whether the roles of the functions that a queue is polled for have permission; an empty queue needs none."""
    queue = sqs._get_q(queue_url)
    arn = queue["attributes"]["QueueArn"]
    return not queue["messages"] or all(role_may(role, action, arn) for role in _pollers(arn) for action in actions)


def _pollers(queue_arn: str) -> Iterator[str]:
    """Yield the roles of the functions that a queue is polled for."""
    for _, _, mapping in lambda_svc._iter_all_esms():
        if mapping.get("EventSourceArn") == queue_arn:
            _, config = lambda_svc._get_func_record_for_qualifier(mapping["FunctionName"], mapping.get("Qualifier"))
            if config:
                yield config["Role"]


# -- EventBridge as itself


def invoke_target(emulated: _Call, target: Any, event: Any, rule: dict[str, Any], *rest: Any, **named: Any) -> Any:
    """Remember the rule while a target is invoked."""
    # EventBridge Scheduler comes this way too, and acts by a role.
    token = _rule.set(rule["Arn"] if ":rule/" in rule.get("Arn", "") else "")
    try:
        return emulated(target, event, rule, *rest, **named)
    finally:
        _rule.reset(token)


def dispatch_to_lambda(emulated: _Call, arn: str, *rest: Any) -> None:
    """Invoke a function, if its policy lets the rule."""
    if not _rule.get() or function_policies.allows(arn, _EVENTS, _rule.get()):
        emulated(arn, *rest)
    else:
        logger.warning("the function %s does not let the rule %s invoke it", arn, _rule.get())


def dispatch_to_sqs(emulated: _Call, target: Any, *rest: Any) -> None:
    """Send to a queue, if its policy lets the rule."""
    arn, source = str(target), _rule.get()
    if not source or _lets(sqs.queue_policy_for_arn(arn), _EVENTS, source, "sqs:SendMessage", arn):
        emulated(target, *rest)


def _lets(policy: tuple[Any, str] | None, service: str, source: str, action: str, arn: str) -> bool:
    """Whether a resource's policy lets a service in, if IAM is enforced."""
    if not emulator.AUTH:
        return True
    document = (policy and policy[0]) or {}
    document = json.loads(document) if isinstance(document, str) else document
    context = function_policies.called_by(source, action, arn)
    if iam_evaluator.evaluate_resource_policy(document, context, service=service).decision != "Allow":
        logger.warning("%s does not let %s %s for %s", arn, service, action, source)
        return False
    authorizations.note_service(service, source, context, document)
    return True


# -- CloudWatch as itself


def dispatch_alarm_actions(emulated: _Call, alarm: dict[str, Any], *rest: Any) -> None:
    """Remember the alarm while its actions are taken."""
    token = _alarm.set(alarm.get("AlarmArn", ""))
    try:
        emulated(alarm, *rest)
    finally:
        _alarm.reset(token)


def fan_out(emulated: _Call, arn: str, *rest: Any, **named: Any) -> Any:
    """Publish to a topic's subscribers, if its policy lets the alarm that publishes."""
    source = _alarm.get()
    if not source or _lets(sns.topic_policy_for_arn(arn), _ALARMS, source, "sns:Publish", arn):
        return emulated(arn, *rest, **named)
    return None


# -- calls that take more than one permission


async def authorize_tags_of_new_key(
    emulated: Handler, method: str, path: str, headers: Headers, body: bytes, query: Query
) -> Answer:
    """Answer KMS; CreateKey with tags takes the permission to tag.

    https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html
    """
    if str(headers.get("x-amz-target", "")).endswith(".CreateKey"):
        request = json.loads(body)
        try:
            for resource, keys in _key_in_the_making(request):
                caller = extract_access_key_id(headers, query)
                # Whether the caller may put its policy is looked at with that policy: see `kms.key_policies`.
                require_further(caller, "kms:CreateKey", (resource,), parameters=request.keys() - {"Policy"}, keys=keys)
        except ServiceError as error:
            return error.answer()
    return await emulated(method, path, headers, body, query)


def _key_in_the_making(request: dict[str, Any]) -> Iterator[tuple[str, dict[str, str | list[str]]]]:
    """Yield what a key that is being made may be to IAM, as resource and condition keys.

    "The permission must cover all KMS keys in the account and Region", says AWS, and no more: whether the key has an
    ARN by then, its attributes and its tags is open. All of it has to be allowed here.
    https://docs.aws.amazon.com/kms/latest/developerguide/manage-tags-api.html
    """
    tags = {tag["TagKey"]: tag["TagValue"] for tag in request.get("Tags") or ()}
    requested: dict[str, str | list[str]] = {f"aws:RequestTag/{name}": value for name, value in tags.items()}
    requested["aws:TagKeys"] = list(tags)
    keys = f"arn:aws:kms:{get_region()}:{get_account_id()}:key/"
    defaults = {"Origin": "AWS_KMS", "KeySpec": "SYMMETRIC_DEFAULT", "KeyUsage": "ENCRYPT_DECRYPT"}
    attributes: dict[str, str | list[str]] = {**actions.of_key(defaults | request)}
    borne = {f"aws:ResourceTag/{name}": value for name, value in tags.items()}
    for resource in ("*", f"{keys}*", f"{keys}{uuid.uuid4()}"):
        yield resource, requested
    yield f"{keys}*", requested | attributes
    yield f"{keys}{uuid.uuid4()}", requested | attributes | borne


async def hide_missing_objects(
    emulated: Handler, method: str, path: str, headers: Headers, body: bytes, query: Query
) -> Answer:
    """Answer S3; a caller who may not list the bucket gets 403 for an object that is missing.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """
    answer = await emulated(method, path, headers, body, query)
    bucket, _, key = path.lstrip("/").partition("/")
    if method not in ("GET", "HEAD") or answer[0] != 404 or not key or "versionId" in query:
        return answer
    if may(extract_access_key_id(headers, query), "s3:ListBucket", f"arn:aws:s3:::{bucket}"):
        return answer
    text = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    return 403, {"Content-Type": "application/xml"}, b"" if method == "HEAD" else text.encode()
