"""What services do in the name of a role or of a caller, which takes that one's permission. The emulator just does it.

Only with IAM enforced. What a service may do as itself is up to the policy of the resource that it turns to.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from ministack import app as emulator
from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.core.router import extract_access_key_id
from ministack.services import cloudwatch, eventbridge, lambda_svc, sns, sqs

from localaws.asgi import Answer, Handler, Headers, Query, ServiceError
from localaws.iam import authorizations, function_policies

type _Call = Callable[..., Any]

_EVENTS, _ALARMS = "events.amazonaws.com", "cloudwatch.amazonaws.com"
# https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html
_TRACING = ("xray:PutTraceSegments", "xray:PutTelemetryRecords")
_rule: ContextVar[str] = ContextVar("localaws_rule", default="")
_alarm: ContextVar[str] = ContextVar("localaws_alarm", default="")
logger = logging.getLogger("localaws.iam.actions")


def install(handlers: dict[str, Handler]) -> None:
    """Ask for permission where Lambda writes logs and polls a queue, and where EventBridge or an alarm tells somebody.

    The emulator has no registry for this, so its functions that do these things are wrapped. So are the services whose
    calls ask for more than the one permission.
    """
    handlers["kms"] = _tagging_what_it_makes(handlers["kms"])
    handlers["s3"] = _telling_only_listers_that_nothing_is_there(handlers["s3"])
    lambda_svc._emit_lambda_logs = _if_the_role_may_log(lambda_svc._emit_lambda_logs)
    sqs._receive_messages_for_esm = _if_the_role_may(
        sqs._receive_messages_for_esm, ("sqs:GetQueueAttributes", "sqs:ReceiveMessage")
    )
    sqs._delete_messages_for_esm = _if_the_role_may(sqs._delete_messages_for_esm, ("sqs:DeleteMessage",))
    eventbridge._invoke_target = _for_a_rule(eventbridge._invoke_target)
    eventbridge._dispatch_to_lambda = _if_the_function_lets(eventbridge._dispatch_to_lambda)
    eventbridge._dispatch_to_sqs = _if_the_queue_lets(eventbridge._dispatch_to_sqs)
    cloudwatch._dispatch_alarm_actions = _for_an_alarm(cloudwatch._dispatch_alarm_actions)
    sns._fanout = _if_the_topic_lets(sns._fanout)


def role_may(role_arn: str, action: str, resource: str) -> bool:
    """Whether a role may do something that a service does in its name."""
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


def may(caller: str | None, action: str, resource: str, keys: Mapping[str, str] | None = None) -> bool:
    """Whether a caller has a further permission that a call asks for.

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


def require(caller: str | None, action: str, resource: str, keys: Mapping[str, str] | None = None) -> None:
    """Raise AWS's error unless the caller has a further permission that a call asks for. Arguments as of `may`."""
    if not may(caller, action, resource, keys):
        raise ServiceError(
            "AccessDeniedException", f"The caller is not authorized to perform {action} on resource {resource}."
        )


# -- Lambda as a function's role


def _if_the_role_may_log(emit: _Call) -> _Call:
    def emit_logs(function: dict[str, Any], *rest: Any, **named: Any) -> None:
        config = function.get("config") or function
        group = (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{config.get('FunctionName')}"
        stream = f"arn:aws:logs:{get_region()}:{get_account_id()}:log-group:{group}:log-stream:any"
        role = config.get("Role", "")
        if (config.get("TracingConfig") or {}).get("Mode") == "Active":
            # There is no X-Ray here: what is asked is whether the traces would arrive.
            all(role_may(role, action, "*") for action in _TRACING)
        if all(role_may(role, action, stream) for action in ("logs:CreateLogStream", "logs:PutLogEvents")):
            emit(function, *rest, **named)

    return emit_logs


def _if_the_role_may(call: _Call, actions: tuple[str, ...]) -> _Call:
    def of_a_queue(queue_url: str, *rest: Any) -> Any:
        queue = sqs._get_q(queue_url)
        arn = queue["attributes"]["QueueArn"]
        # An empty queue is asked as well, but nobody would learn anything by it.
        if queue["messages"] and not all(role_may(role, it, arn) for role in _pollers(arn) for it in actions):
            return []
        return call(queue_url, *rest)

    return of_a_queue


def _pollers(queue_arn: str) -> Iterator[str]:
    """The roles of the functions that a queue is polled for."""
    for _, _, mapping in lambda_svc._iter_all_esms():
        if mapping.get("EventSourceArn") == queue_arn:
            _, config = lambda_svc._get_func_record_for_qualifier(mapping["FunctionName"], mapping.get("Qualifier"))
            if config:
                yield config["Role"]


# -- EventBridge as itself


def _for_a_rule(invoke: _Call) -> _Call:
    def invoke_target(target: Any, event: Any, rule: dict[str, Any], *rest: Any, **named: Any) -> Any:
        # EventBridge Scheduler comes this way too, and acts by a role.
        token = _rule.set(rule["Arn"] if ":rule/" in rule.get("Arn", "") else "")
        try:
            return invoke(target, event, rule, *rest, **named)
        finally:
            _rule.reset(token)

    return invoke_target


def _if_the_function_lets(dispatch: _Call) -> _Call:
    def dispatch_to_lambda(arn: str, *rest: Any) -> None:
        if not _rule.get() or function_policies.allows(arn, _EVENTS, _rule.get()):
            dispatch(arn, *rest)
        else:
            logger.warning("the function %s does not let the rule %s invoke it", arn, _rule.get())

    return dispatch_to_lambda


def _if_the_queue_lets(dispatch: _Call) -> _Call:
    def dispatch_to_sqs(target: Any, *rest: Any) -> None:
        arn, source = str(target), _rule.get()
        if not source or _lets(sqs.queue_policy_for_arn(arn), _EVENTS, source, "sqs:SendMessage", arn):
            dispatch(target, *rest)

    return dispatch_to_sqs


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


def _for_an_alarm(dispatch: _Call) -> _Call:
    def dispatch_alarm_actions(alarm: dict[str, Any], *rest: Any) -> None:
        token = _alarm.set(alarm.get("AlarmArn", ""))
        try:
            dispatch(alarm, *rest)
        finally:
            _alarm.reset(token)

    return dispatch_alarm_actions


def _if_the_topic_lets(fan_out: _Call) -> _Call:
    def fan_out_to_subscribers(arn: str, *rest: Any, **named: Any) -> Any:
        source = _alarm.get()
        if not source or _lets(sns.topic_policy_for_arn(arn), _ALARMS, source, "sns:Publish", arn):
            return fan_out(arn, *rest, **named)
        return None

    return fan_out_to_subscribers


# -- calls that ask for more than one permission


def _tagging_what_it_makes(kms: Handler) -> Handler:
    """CreateKey with tags takes the permission to tag.

    https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html
    """

    async def handle(method: str, path: str, headers: Headers, body: bytes, query: Query) -> Answer:
        if str(headers.get("x-amz-target", "")).endswith(".CreateKey") and (tags := json.loads(body).get("Tags")):
            keys = {f"aws:RequestTag/{tag['TagKey']}": tag["TagValue"] for tag in tags}
            try:
                require(extract_access_key_id(headers, query), "kms:TagResource", "*", keys)
            except ServiceError as error:
                return error.answer()
        return await kms(method, path, headers, body, query)

    return handle


def _telling_only_listers_that_nothing_is_there(s3: Handler) -> Handler:
    """To others S3 says no more than that they may not.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """

    async def handle(method: str, path: str, headers: Headers, body: bytes, query: Query) -> Answer:
        answer = await s3(method, path, headers, body, query)
        bucket, _, key = path.lstrip("/").partition("/")
        if method not in ("GET", "HEAD") or answer[0] != 404 or not key or "versionId" in query:
            return answer
        if may(extract_access_key_id(headers, query), "s3:ListBucket", f"arn:aws:s3:::{bucket}"):
            return answer
        text = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        return 403, {"Content-Type": "application/xml"}, b"" if method == "HEAD" else text.encode()

    return handle
