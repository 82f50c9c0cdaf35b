"""The default endpoint of REST APIs: ``{apiId}.execute-api...`` and the emulator's paths for it, over plain HTTP.

Addressing, SigV4 and IAM are the emulator's: it answers here, too, with the path left as the client encoded it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ministack import app as emulator
from ministack.services import apigateway_v1 as store

from localaws.apigateway.exchange import Exchange, Request
from localaws.apigateway.rest_endpoint import Reply, serve
from localaws.asgi import Answer, Headers

type Scope = dict[str, Any]
type Receive = Callable[[], Awaitable[dict[str, Any]]]
type Send = Callable[[dict[str, Any]], Awaitable[None]]

_HEADERS_OF_THE_EMULATOR = ("content-type", "accept", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-port")


def target(scope: Scope) -> tuple[str, str, str] | None:
    """Return the API, stage and encoded path that a request asks for; None unless it is for a REST API."""
    path = (scope.get("raw_path") or scope["path"].encode()).decode("ascii", "replace")
    found: tuple[str, str, str] | None = emulator._parse_execute_api_url(_host(scope), path)
    return found if found is not None and store.find_api_scope(found[0]) is not None else None


async def answer(scope: Scope, body: bytes, send: Send) -> None:
    """Answer a request to the default endpoint of a REST API."""
    exchange = _exchange(scope)

    async def run(headers: Headers) -> Answer:
        ours = [(name.encode(), headers[name].encode("latin-1")) for name in _HEADERS_OF_THE_EMULATOR]
        theirs = [(name, value) for name, value in scope["headers"] if name.decode() not in _HEADERS_OF_THE_EMULATOR]
        encoded = scope | {"path": scope["raw_path"].decode("ascii", "replace"), "headers": [*theirs, *ours]}
        return await _captured(encoded, body)

    await _send(send, await serve(exchange, body, run), head=exchange.request.method == "HEAD")


def _exchange(scope: Scope) -> Exchange:
    found = target(scope)
    owner = found and store.find_api_scope(found[0])
    if found is None or owner is None:
        raise LookupError(f"no REST API for {scope['path']}")
    api_id, stage, path = found
    lines = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    request = Request(
        method=scope["method"],
        path=path,
        query=scope["query_string"].decode("latin-1"),
        headers=lines,
        source_ip=(scope.get("client") or ("127.0.0.1",))[0],
        protocol=f"HTTP/{scope['http_version']}",
    )
    name = f"{api_id}.execute-api.{owner[1]}.amazonaws.com"
    return Exchange(request, api_id, stage, name, stage_path=f"/{stage}{path}", event_path=path)


async def _captured(scope: Scope, body: bytes) -> Answer:
    started: dict[str, Any] = {}
    content = bytearray()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def keep(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            started.update(message)
        content.extend(message.get("body", b""))

    await emulator.app(scope, receive, keep)
    headers: Headers = {}
    for name, value in started["headers"]:
        headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    return started["status"], headers, bytes(content)


async def _send(send: Send, reply: Reply, *, head: bool) -> None:
    lines = [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in reply.headers]
    if reply.status not in (204, 304) and (reply.body or not head):
        lines.append((b"content-length", str(len(reply.body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": lines})
    await send({"type": "http.response.body", "body": b"" if head else reply.body})


def _host(scope: Scope) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
