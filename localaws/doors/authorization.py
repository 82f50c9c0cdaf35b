"""SigV4 and IAM for requests by the front door. For those by its own endpoint the emulator checks both itself."""

from __future__ import annotations

from urllib.parse import parse_qs

from ministack import app as emulator
from ministack.core import iam_evaluator

from localaws.apigateway.exchange import Exchange
from localaws.asgi import Answer, Headers


def authorize(exchange: Exchange, full_path: str, headers: Headers, body: bytes) -> Answer | None:
    """Return the answer to a caller who may not call the method; None to one who may, or if IAM is not enforced."""
    if not emulator.AUTH:
        return None
    request = exchange.request
    query = parse_qs(request.query, keep_blank_values=True)
    lines = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in request.headers]
    iam_evaluator.pin_request_origin(request.source_ip, True)
    iam_evaluator.pin_signed_request(request.method, full_path, query, lines)
    iam_evaluator.pin_signed_body(body)
    refused: Answer | None = emulator._enforce_execute_api(
        exchange.api_id, exchange.stage, request.method, request.path, headers, query
    )
    return refused
