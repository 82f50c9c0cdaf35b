"""Gateway responses of REST APIs: what API Gateway answers itself, in the words of the API's templates.

The emulator finds the response in force and its status; the media type, and ``$context`` beyond the error, come from
here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from ministack.core.responses import request_scope
from ministack.services import apigateway_v1 as store

from localaws.apigateway import context_variables
from localaws.apigateway.exchange import Exchange, Failure, current
from localaws.asgi import Answer

type Json = dict[str, Any]

_JSON = "application/json"
# Customizing the response to what is too large is not supported.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
_NOT_CUSTOMIZABLE = "REQUEST_TOO_LARGE"


def respond(emulated: Callable[[Any, Json], Answer], error: Any, request: Json) -> Answer:
    """Answer an error as API Gateway: in the media type that the client accepts, with ``$context`` filled in."""
    exchange = current.get()
    if exchange is None:
        return emulated(error, request)
    _note(exchange, error, request)
    status, headers, body = emulated(error, request | {"request_id": exchange.request_id})
    templates = _in_force(request, error.response_type).get("responseTemplates") or {_JSON: ""}
    kind = _media_type(templates, exchange)
    if kind != _JSON:
        body = templates[kind].encode()
    named = [name for name in headers if name.lower() == "content-type" and name != "Content-Type"]
    if named:
        headers.pop("Content-Type")
    elif headers["Content-Type"] == _JSON:
        headers["Content-Type"] = kind
    rendered = context_variables.render(body.decode(), context_variables.of(exchange), absent=None)
    return status, headers, rendered.encode()


def answer(exchange: Exchange, failure: Failure) -> Answer:
    """Return the gateway response of ``failure``."""
    scope = store.find_api_scope(exchange.api_id)
    request = {
        "api_id": exchange.api_id,
        "stage_name": exchange.stage,
        "stage": store.stages_for_api(exchange.api_id)[exchange.stage],
        "headers": dict(exchange.request.headers),
        "query_params": parse_qs(exchange.request.query, keep_blank_values=True),
        "path_params": {},
        "resource_path": exchange.context.get("resourcePath", ""),
        "request_id": exchange.request_id,
    }
    error = store._GatewayError(failure.response_type, failure.message, failure.error_type)
    if failure.response_type == _NOT_CUSTOMIZABLE:
        _note(exchange, error, request)
        headers = {"Content-Type": _JSON, "x-amzn-ErrorType": failure.error_type}
        return 413, headers, json.dumps({"message": failure.message}).encode()
    with request_scope(*scope):
        status, headers, body = store._gateway_error_response(error, request)
        named = _in_force(request, failure.response_type).get("statusCode")
    return (status if named else failure.status or status), headers, body


def _note(exchange: Exchange, error: Any, request: Json) -> None:
    exchange.error = {
        "message": error.message,
        "messageString": None if error.message is None else f'"{error.message}"',
        "responseType": error.response_type,
    }
    exchange.context.setdefault("resourcePath", request.get("resource_path"))


def _in_force(request: Json, response_type: str) -> Json:
    if response_type == _NOT_CUSTOMIZABLE:
        return {}
    api_id, stage = request["api_id"], request.get("stage") or {}
    customized = store._deployed_gateway_responses.get(api_id, {}).get(stage.get("deploymentId"))
    if customized is None:
        customized = store._gateway_responses.get(api_id, {})
    response: Json = store._gateway_response_for_type(customized, response_type)
    return response


def _media_type(templates: Json, exchange: Exchange) -> str:
    accepted = ",".join(exchange.request.values("accept")).split(",")[0].partition(";")[0].strip().lower()
    if accepted in templates:
        return accepted
    return _JSON if _JSON in templates else next(iter(templates))
