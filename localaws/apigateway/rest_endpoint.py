"""A request to a REST API, from what a client sent to what it gets back, by whichever door it came.

The doors are in ``doors``. Routing, authorization, throttling and integrations are the emulator's; the request that
goes in and the answer that comes out are corrected here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from localaws.apigateway import access_log, deployments, gateway_responses
from localaws.apigateway.exchange import Exchange, current
from localaws.asgi import Answer, Headers

PAYLOAD_BYTES = 10 * 1024 * 1024
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "content-length"}
_REQUEST_IDS = {"x-amzn-requestid", "x-amz-request-id", "x-amz-apigw-id"}
_WITHOUT_BODY = (204, 304)


@dataclass(frozen=True)
class Reply:
    """What is sent to the client: every header line, and no header that says how the body is framed."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


async def serve(exchange: Exchange, body: bytes, run: Callable[[Headers], Awaitable[Answer]]) -> Reply:
    """Answer ``exchange`` with what ``run`` answers, given the headers that the emulator goes by."""
    exchange.deployed = deployments.definition_of(exchange.api_id, exchange.stage)
    token = current.set(exchange)
    try:
        if len(body) > PAYLOAD_BYTES:
            # Ahead of the API, so no gateway response applies and nothing is logged.
            text = f"HTTP content length exceeded {PAYLOAD_BYTES} bytes.".encode()
            return Reply(413, [("Content-Type", "text; charset=utf-8")], text)
        answer = await run(_emulator_headers(exchange))
        if exchange.failure is not None:
            answer = gateway_responses.answer(exchange, exchange.failure)
        reply = _reply(exchange, answer)
        await access_log.write(exchange, reply.status, len(reply.body))
        return reply
    finally:
        current.reset(token)


def _emulator_headers(exchange: Exchange) -> Headers:
    """Return the headers that the emulator decides by; functions get those of the client.

    Without a Content-Type a body counts as JSON, and of several media types in Accept only the first one counts.
    """
    headers: Headers = exchange.request.joined_headers() | {"host": exchange.domain_name}
    headers.setdefault("content-type", "application/json")
    headers["accept"] = headers.get("accept", "*/*").split(",")[0].strip() or "*/*"
    headers["x-forwarded-for"] = exchange.request.source_ip
    headers["x-forwarded-proto"], headers["x-forwarded-port"] = "https", "443"
    return headers


def _reply(exchange: Exchange, answer: Answer) -> Reply:
    status, headers, body = answer
    invented = {"content-type"} if _invents_its_type(exchange, status, body) else set()
    lines = [
        (name, str(value))
        for name, values in headers.items()
        if name.lower() not in _HOP_BY_HOP | _REQUEST_IDS | invented
        for value in (values if isinstance(values, list | tuple) else [values])
    ]
    lines += [("x-amzn-RequestId", exchange.request_id), ("x-amz-apigw-id", exchange.extended_request_id)]
    content = body.encode() if isinstance(body, str) else bytes(body)
    return Reply(status, lines, b"" if status in _WITHOUT_BODY else content)


def _invents_its_type(exchange: Exchange, status: int, body: object) -> bool:
    """Whether the emulator's Content-Type is for a body that is not there, and the function gave none."""
    bare = status in _WITHOUT_BODY or (exchange.request.method == "HEAD" and not body)
    named = exchange.answered_headers
    return bare and named is not None and "content-type" not in named
