"""TestInvokeAuthorizer: the trial of an authorizer, which the emulator does not know.

https://docs.aws.amazon.com/apigateway/latest/api/API_TestInvokeAuthorizer.html
"""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ministack.core.responses import get_account_id, get_region
from ministack.services import apigateway_v1

from localaws.asgi import Answer, Handler, Headers, Query, json_answer
from localaws.iam import function_policies

type Json = dict[str, Any]

_REST_JSON = "application/json"
# What API Gateway answers a client where it may not invoke the function, or gets no policy of it.
_FAILED = 500
_SERVICE = "apigateway.amazonaws.com"


async def try_authorizers(
    emulated: Handler, method: str, path: str, headers: Headers, body: bytes, query: Query
) -> Answer:
    """Answer API Gateway: a POST to an authorizer invokes its function, if that lets API Gateway."""
    match path.strip("/").split("/"):
        case ["restapis", api, "authorizers", identity] if method == "POST":
            authorizer = apigateway_v1._authorizers_v1.get(api, {}).get(identity)
            if authorizer is not None:
                return json_answer(await _try(api, authorizer, json.loads(body or b"{}")), content_type=_REST_JSON)
    return await emulated(method, path, headers, body, query)


async def _try(api: str, authorizer: Json, request: Json) -> Json:
    began = time.monotonic()
    account, region = get_account_id(), get_region()
    arn = f"arn:aws:execute-api:{region}:{account}:{api}"
    target = apigateway_v1._extract_lambda_ref_from_integration_uri(authorizer.get("authorizerUri", ""))
    by_role = bool(authorizer.get("authorizerCredentials"))
    if not (by_role or function_policies.allows(target, _SERVICE, f"{arn}/authorizers/{authorizer['id']}")):
        return _failed("Execution failed due to configuration error: Invalid permissions on Lambda function", began)
    result = await apigateway_v1._invoke_authorizer_lambda(authorizer, _event(arn, request), account, region)
    answer = (result or {}).get("body")
    if not isinstance(answer, dict) or (result or {}).get("error") or "policyDocument" not in answer:
        return _failed("Execution failed due to configuration error: Invalid response from the authorizer", began)
    return {
        "clientStatus": 0,
        "log": "Successfully completed authorizer execution",
        "latency": _milliseconds(began),
        "principalId": str(answer.get("principalId", "")),
        "policy": json.dumps(answer["policyDocument"]),
        "authorization": {},
        "claims": {},
    }


def _failed(log: str, began: float) -> Json:
    return {"clientStatus": _FAILED, "log": log, "latency": _milliseconds(began)}


def _milliseconds(since: float) -> int:
    return round((time.monotonic() - since) * 1000)


def _event(arn: str, request: Json) -> Json:
    """What a request authorizer gets in a trial: no client certificate, as there is no connection."""
    target = urlsplit(request.get("pathWithQueryString") or "/")
    headers = request.get("headers") or {}
    queries = parse_qs(target.query)
    return {
        "type": "REQUEST",
        "methodArn": f"{arn}/ESTestInvoke-stage/GET{target.path}",
        "resource": target.path,
        "path": target.path,
        "httpMethod": "GET",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {name: values[-1] for name, values in queries.items()},
        "multiValueQueryStringParameters": queries,
        "pathParameters": {},
        "stageVariables": request.get("stageVariables") or {},
        "requestContext": {
            "identity": {"sourceIp": "test-invoke-source-ip"},
            **(request.get("additionalContext") or {}),
        },
    }
