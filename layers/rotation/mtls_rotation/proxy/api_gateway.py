"""API Gateway's proxy event and answer, as what `forwarding` takes and gives.

https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from mtls_rotation.proxy import paths
from mtls_rotation.proxy.forwarding import Answer, Incoming

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent

    from mtls_rotation.proxy.problems import Problem


def incoming(event: APIGatewayProxyEvent) -> Incoming:
    """What came in."""
    raw = event.raw_event
    text = raw.get("body") or ""
    return Incoming(
        method=event.http_method,
        path=event.path,
        query=paths.pairs(raw.get("multiValueQueryStringParameters")),
        headers=raw.get("multiValueHeaders") or {},
        body=base64.b64decode(text) if raw.get("isBase64Encoded") else text.encode(),
        client=event.request_context.identity.source_ip,
        host=event.request_context.domain_name or "",
    )


def answered(answer: Answer) -> dict[str, Any]:
    """The function's answer. A body is base64 always: what is text is not for a proxy to know."""
    return {
        "statusCode": answer.status,
        "multiValueHeaders": answer.headers,
        "body": base64.b64encode(answer.body).decode(),
        "isBase64Encoded": bool(answer.body),
    }


def refused(problem: Problem, method: str, request_id: str) -> dict[str, Any]:
    """The answer where there is none from upstream."""
    headers = {"content-type": ["application/problem+json"], "cache-control": ["no-store"]}
    if problem.allow:
        headers["allow"] = [", ".join(problem.allow)]
    body = b"" if method == "HEAD" else problem.document(request_id)
    return answered(Answer(problem.status.value, headers, body))
