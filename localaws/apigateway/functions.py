"""The events that functions behind an API get, and what API Gateway takes of their answers.

The rules of answers are in ``proxy_answers.py``.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, unquote

from ministack.core.responses import get_account_id, get_region
from ministack.services import apigateway_v1

from localaws.apigateway import proxy_answers
from localaws.apigateway.exchange import (
    AUTHORIZER_ANSWER_TOO_LARGE,
    THROTTLED,
    TIMED_OUT,
    TOO_LARGE,
    URI_TOO_LONG,
    Exchange,
    current,
)
from localaws.iam import function_policies

type Json = dict[str, Any]
type _Invoke = Callable[..., Awaitable[Any]]

# Lambda's quota for a synchronous request.
_REQUEST_BYTES = 6 * 1024 * 1024
# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
_AUTHORIZER_ANSWER_BYTES = 8 * 1024
_AUTHORIZED_METHOD_ARN_BYTES = 1600
_invocations: set[asyncio.Future[Any]] = set()
_NOT_FORWARDED = {
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_IDENTITY = (
    "accessKey",
    "accountId",
    "caller",
    "cognitoAuthenticationProvider",
    "cognitoAuthenticationType",
    "cognitoIdentityId",
    "cognitoIdentityPoolId",
    "principalOrgId",
    "user",
    "userArn",
)


async def invoke_integration(emulated: _Invoke, target: Any, event: Json, *rest: Any, **named: Any) -> Any:
    """Invoke the function of an integration, if API Gateway may, with a complete event and for a limited time."""
    exchange = current.get()
    if exchange is None:
        return await emulated(target, event, *rest, **named)
    complete(event, exchange)
    exchange.context = event["requestContext"]
    if len(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()) > _REQUEST_BYTES:
        exchange.failure = TOO_LARGE
        return None, TOO_LARGE.message
    method = _method(exchange)
    if method.get("authorizationType", "NONE") != "NONE" and _is_too_long(exchange):
        exchange.failure = URI_TOO_LONG
        return None, URI_TOO_LONG.message
    integration: Json = method["methodIntegration"]
    if not (integration.get("credentials") or _may_invoke(target, *_sources(exchange))):
        return None, "API Gateway may not invoke the function."
    started = time.monotonic()
    invocation = asyncio.ensure_future(emulated(target, event, *rest, **named))
    _invocations.add(invocation)  # it goes on after the time is over
    invocation.add_done_callback(_invocations.discard)
    done, _ = await asyncio.wait({invocation}, timeout=int(integration["timeoutInMillis"] or 29_000) / 1000)
    exchange.integration["latency"] = round((time.monotonic() - started) * 1000)
    if not done:
        exchange.failure = TIMED_OUT
        return None, TIMED_OUT.message
    exchange.integration["integrationStatus"] = 200
    return invocation.result()


async def invoke_authorizer(emulated: _Invoke, authorizer: Json, event: Json, *rest: Any) -> Any:
    """Invoke the function of an authorizer, if API Gateway may, with a complete event."""
    exchange = current.get()
    if exchange is None:
        return await emulated(authorizer, event, *rest)
    if _is_too_long(exchange):
        exchange.failure = URI_TOO_LONG
        return None
    if "requestContext" in event:  # an authorizer of the type TOKEN gets the token alone
        complete(event, exchange)
        exchange.context = event["requestContext"]
    target = apigateway_v1._extract_lambda_ref_from_integration_uri(authorizer.get("authorizerUri", ""))
    source = f"{_api_arn(exchange)}/authorizers/{authorizer['id']}"
    if not (authorizer.get("authorizerCredentials") or _may_invoke(target, source)):
        return None
    result = await emulated(authorizer, event, *rest)
    answer = (result or {}).get("body")
    if isinstance(answer, dict) and not (result or {}).get("error"):
        if len(json.dumps(answer)) > _AUTHORIZER_ANSWER_BYTES:
            exchange.failure = AUTHORIZER_ANSWER_TOO_LARGE
            return None
        exchange.authorizer = apigateway_v1._stringify_context(answer.get("context"))
        if answer.get("principalId"):
            exchange.authorizer["principalId"] = str(answer["principalId"])
    return result


def read_proxy_answer(emulated: Callable[[Json], Any], result: Json) -> Any:
    """Return the answer of a proxy integration's function, or why API Gateway refuses it."""
    exchange = current.get()
    if exchange is None:
        return emulated(result)
    if result.get("throttle"):
        exchange.failure = THROTTLED
        return None, THROTTLED.message
    try:
        answer = proxy_answers.read(result)
    except proxy_answers.RefusedAnswerError as error:
        exchange.failure = error.failure
        exchange.integration["error"] = str(error)
        return None, str(error)
    exchange.integration["status"] = answer["statusCode"]
    exchange.answered_headers = frozenset(name.lower() for name in answer["multiValueHeaders"])
    return answer, None


async def invoke_from_http_api(emulated: _Invoke, function: Any, *arguments: Any, **named: Any) -> Any:
    """Invoke the function of an HTTP API with the domain and the client certificate in its event."""
    exchange = current.get()
    event = arguments[1] if len(arguments) > 1 else None
    if exchange is not None and isinstance(event, dict) and "requestContext" in event:
        context = event["requestContext"]
        context |= _domain(exchange)
        if exchange.client_certificate is not None:
            context["authentication"] = {"clientCert": exchange.client_certificate}
    return await emulated(function, *arguments, **named)


def complete(event: Json, exchange: Exchange) -> None:
    """Put into an event of a REST API what the client sent, and the door that the request came by."""
    event.pop("version", None)  # a member of events of HTTP APIs only
    headers = forwarded_headers(exchange)
    query = parse_qs(exchange.request.query, keep_blank_values=True)
    event |= {
        "path": exchange.event_path,
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
    }
    if event.get("pathParameters"):
        event["pathParameters"] = {name: unquote(value) for name, value in event["pathParameters"].items()}
    context = event["requestContext"]
    context |= _domain(exchange) | {
        "path": exchange.stage_path,
        "protocol": exchange.request.protocol,
        "requestId": exchange.request_id,
        "extendedRequestId": exchange.extended_request_id,
        "requestTime": exchange.received_at.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "requestTimeEpoch": int(exchange.received_at.timestamp() * 1000),
    }
    identity = dict.fromkeys(_IDENTITY) | context.get("identity", {}) | {"sourceIp": exchange.request.source_ip}
    if exchange.client_certificate is not None:
        identity["clientCert"] = exchange.client_certificate
    context["identity"] = identity


def forwarded_headers(exchange: Exchange) -> dict[str, list[str]]:
    """Return the headers of events: those of the client, spelled as it did, and those that API Gateway adds."""
    headers: dict[str, list[str]] = {}
    spelled: dict[str, str] = {}
    for name, value in exchange.request.headers:
        if name.lower() not in _NOT_FORWARDED:
            headers.setdefault(spelled.setdefault(name.lower(), name), []).append(value)
    through = [*exchange.request.values("x-forwarded-for"), exchange.request.source_ip]
    added = {
        "Host": exchange.domain_name,
        "X-Amzn-Trace-Id": "".join(exchange.request.values("x-amzn-trace-id")[-1:]) or f"Root={exchange.trace_id}",
        "X-Forwarded-For": ", ".join(through),
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
    }
    for name, value in added.items():
        headers.pop(spelled.get(name.lower(), name), None)
        headers[name] = [value]
    return headers


def _method(exchange: Exchange) -> Json:
    resource = apigateway_v1._resources.get(exchange.api_id)[exchange.context["resourceId"]]
    methods: Json = resource["resourceMethods"]
    method: Json = methods.get(exchange.request.method) or methods["ANY"]
    return method


def _is_too_long(exchange: Exchange) -> bool:
    """Whether the ARN of the method, with the path that the client sent, is too long to be authorized."""
    arn = f"{_api_arn(exchange)}/{exchange.stage}/{exchange.request.method}{exchange.request.path}"
    return len(arn.encode()) > _AUTHORIZED_METHOD_ARN_BYTES


def _sources(exchange: Exchange) -> list[str]:
    """Return the ARNs that may be the source of an invocation: AWS does not say how it names ANY."""
    path = exchange.context["resourcePath"]
    return [f"{_api_arn(exchange)}/{exchange.stage}/{verb}{path}" for verb in (exchange.request.method, "ANY")]


def _api_arn(exchange: Exchange) -> str:
    return f"arn:aws:execute-api:{get_region()}:{get_account_id()}:{exchange.api_id}"


def _may_invoke(target: str, *sources: str) -> bool:
    return ":function:" not in target or function_policies.allows(target, "apigateway.amazonaws.com", *sources)


def _domain(exchange: Exchange) -> Json:
    return {"domainName": exchange.domain_name, "domainPrefix": exchange.domain_name.partition(".")[0]}
