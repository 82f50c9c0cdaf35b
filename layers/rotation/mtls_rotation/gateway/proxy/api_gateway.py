"""API Gateway's proxy event and answer, as what `forwarding` takes and gives.

https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from mtls_rotation import invocation
from mtls_rotation.gateway.proxy import paths, problems
from mtls_rotation.gateway.proxy.forwarding import Answer, Incoming
from mtls_rotation.gateway.proxy.problems import NoAnswerError

if TYPE_CHECKING:
    from mtls_rotation.gateway.proxy.problems import Problem


def incoming(event: dict[str, Any]) -> Incoming:
    """What came in.

    Raises:
        InvalidEventError: it is no event of API Gateway's.
        NoAnswerError: the body is not what it says it is.
    """
    host = invocation.member(event, "requestContext", "domainName")
    return Incoming(
        method=invocation.text(event, "httpMethod"),
        path=invocation.text(event, "path"),
        query=paths.pairs(invocation.lists(event, "multiValueQueryStringParameters")),
        headers=invocation.lists(event, "multiValueHeaders"),
        body=_body(event),
        client=invocation.text(event, "requestContext", "identity", "sourceIp"),
        host=host if isinstance(host, str) else "",
    )


def _body(raw: dict[str, Any]) -> bytes:
    if invocation.member(raw, "body") in (None, ""):
        return b""
    text = invocation.text(raw, "body")
    try:
        return base64.b64decode(text) if raw.get("isBase64Encoded") else text.encode()
    except ValueError:
        raise NoAnswerError(
            problems.unusable_request("the body is not of the encoding that it is said to be")
        ) from None


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
