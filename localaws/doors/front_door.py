"""The TLS listener of the custom domains: ends (mutual) TLS and hands requests to the REST API behind the domain.

``apigateway.domains`` says which truststore a domain has, ``apigateway.client_auth`` which certificates it accepts.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qs
from weakref import WeakKeyDictionary

from aiohttp import StreamReader, web
from aiohttp.http_parser import RawRequestMessage
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from ministack.core.responses import request_scope
from ministack.services import apigateway as http_apis
from ministack.services import apigateway_v1 as rest_apis
from multidict import CIMultiDict

from localaws.apigateway import client_auth
from localaws.apigateway.domains import CustomDomains, ServedDomain
from localaws.apigateway.exchange import Exchange, Request, current
from localaws.apigateway.rest_endpoint import PAYLOAD_BYTES, Reply, serve
from localaws.asgi import Answer, Headers
from localaws.doors import authorization, client_hello, dns
from localaws.doors.server_ca import ServerCa
from localaws.doors.tls import ServerContext, ServerSession
from localaws.settings import LiveSettings, Settings

_HANDSHAKE_SECONDS = 10.0
_POLL_SECONDS = 0.002
_PEEK_BYTES = 16_384
_VALIDITY = "%b %e %H:%M:%S %Y GMT"
_UNRECOGNIZED_NAME = bytes([21, 3, 3, 0, 2, 2, 112])  # a fatal TLS alert
_JSON = ("Content-Type", "application/json")
_FORBIDDEN = Reply(403, [_JSON, ("x-amzn-ErrorType", "ForbiddenException")], b'{"message":"Forbidden"}')
logger = logging.getLogger("localaws.doors.front_door")


@dataclass(frozen=True)
class _DomainContext:
    """A TLS context, and what it was made for."""

    domain: ServedDomain
    settings: Settings
    tls: ServerContext


class FrontDoor:
    """Serves every custom domain on one loopback socket."""

    def __init__(self, listener: socket.socket, domains: CustomDomains, ca: ServerCa, settings: LiveSettings) -> None:
        self._listener = listener
        self._domains = domains
        self._ca = ca
        self._settings = settings
        self._contexts: dict[str, _DomainContext] = {}
        self._asked: WeakKeyDictionary[ServerSession, ServedDomain] = WeakKeyDictionary()
        self._runner: web.ServerRunner | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Accept connections until cancelled."""
        self._listener.setblocking(False)
        server = web.Server(self._answer, request_factory=_request, access_log=None, keepalive_timeout=75.0)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.5)
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        try:
            while True:
                connection, _ = await loop.sock_accept(self._listener)
                task = loop.create_task(self._accept(connection))
                self._connections.add(task)
                task.add_done_callback(self._connections.discard)
        finally:
            await self._runner.cleanup()

    # -- connections

    async def _accept(self, connection: socket.socket) -> None:
        """Read which domain a client asks for and begin TLS with the context that is in force for it now."""
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                name = await _read_server_name(connection)
            known = self._context_of(name)
            if known is None:
                logger.info("refused a client that asked for %s: no such custom domain", name)
                connection.send(_UNRECOGNIZED_NAME)
                connection.close()
                return
            server = self._runner.server if self._runner else None
            if server is None:
                connection.close()
                return
            session = ServerSession(known.tls, connection)
            self._asked[session] = known.domain
            await asyncio.get_running_loop().connect_accepted_socket(
                server,
                connection,
                ssl=cast("ssl.SSLContext", session),
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            )
        except (OSError, ssl.SSLError, TimeoutError, client_hello.NotTlsError, IndexError) as error:
            logger.info("refused a connection: %s", error)
            connection.close()

    def _context_of(self, name: str | None) -> _DomainContext | None:
        served = self._domains.served()
        if self._settings.current.dns == "records":
            served = {it: found for it, found in served.items() if dns.leads_to(found)}
        domain = served.get(name or "")
        if domain is None and len(served) == 1:
            domain = next(iter(served.values()))
        if domain is None:
            return None
        known, settings = self._contexts.get(domain.name), self._settings.current
        if known is None or (known.domain, known.settings) != (domain, settings):
            known = _DomainContext(domain, settings, self._make_context(domain, settings))
            self._contexts[domain.name] = known
            version = domain.truststore and domain.truststore.version
            logger.info("new connections to %s meet the truststore version %s", domain.name, version)
        return known

    def _make_context(self, domain: ServedDomain, settings: Settings) -> ServerContext:
        truststore = domain.truststore
        return ServerContext(
            self._ca.leaf(domain.name),
            client_auth.trusted(truststore, settings) if truststore else None,
            lambda chain: client_auth.refusal(chain, truststore, settings) if truststore else None,
            by_alert=settings.refusal_of_clients == "alert",
        )

    # -- requests

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        session = request.transport and request.transport.get_extra_info("ssl_object")
        if not session:
            return web.Response(status=400)
        domain = self._asked[session]
        if session.refusal is not None:
            logger.info("refused a client certificate for %s: Access denied. Reason: %s", domain.name, session.refusal)
            return _response(_FORBIDDEN)
        body = await _body(request)
        with request_scope(domain.account_id, domain.region):
            try:
                return _response(await _forward(request, domain.name, session.client, body))
            except Exception:
                logger.exception("no answer to %s %s", request.method, request.path)
                return _response(Reply(500, [_JSON], b'{"message":"Internal server error"}'))


def _request(
    message: RawRequestMessage, payload: StreamReader, protocol: Any, writer: Any, task: asyncio.Task[None]
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop)


async def _read_server_name(connection: socket.socket) -> str | None:
    """Look at the ClientHello without taking it off the socket, so that TLS can begin with it afterwards."""
    while True:
        try:
            seen = connection.recv(_PEEK_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            seen = None
        if seen == b"":
            raise ConnectionResetError("the client went away")
        if seen and client_hello.is_complete(seen):
            return client_hello.server_name(seen)
        await asyncio.sleep(_POLL_SECONDS)


def _client_certificate(leaf: x509.Certificate) -> dict[str, Any]:
    """Return ``requestContext.identity.clientCert`` as functions get it."""
    return {
        "clientCertPem": leaf.public_bytes(Encoding.PEM).decode(),
        "subjectDN": _written(lambda: leaf.subject),
        "issuerDN": _written(lambda: leaf.issuer),
        "serialNumber": ":".join(f"{byte:02x}" for byte in _serial_bytes(leaf.serial_number)),
        "validity": {
            "notBefore": leaf.not_valid_before_utc.strftime(_VALIDITY),
            "notAfter": leaf.not_valid_after_utc.strftime(_VALIDITY),
        },
    }


def _written(name: Callable[[], x509.Name]) -> str:
    """A name as RFC 4514 writes it; empty where it cannot be decoded, as with Latin-1 in a TeletexString."""
    try:
        return name().rfc4514_string()
    except ValueError:
        return ""


def _serial_bytes(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1)


async def _body(request: web.BaseRequest) -> bytes:
    """Read the body, and no more of it than is needed to see that it is too large."""
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk if len(body) <= PAYLOAD_BYTES else b""
    return bytes(body)


async def _forward(request: web.BaseRequest, domain: str, client: x509.Certificate | None, body: bytes) -> Reply:
    """Find the REST or HTTP API by the mappings of the domain and run the request through its stage."""
    full_path, _, raw_query = request.raw_path.partition("?")
    mapping = rest_apis.resolve_base_path_mapping(domain, full_path)
    if mapping is None:
        return _FORBIDDEN
    api_id, stage, path = mapping
    if not stage:  # a mapping without a stage leaves it to the first part of the path
        stage, _, rest = path.lstrip("/").partition("/")
        path = "/" + rest
    sent = Request(
        method=request.method,
        path=path,
        query=raw_query,
        headers=tuple(request.headers.items()),
        source_ip=request.remote or "127.0.0.1",
        protocol=f"HTTP/{request.version.major}.{request.version.minor}",
    )
    # What a function gets as its path has the base path of the mapping in it.
    shown = _client_certificate(client) if client else None
    exchange = Exchange(sent, api_id, stage, domain, full_path, full_path, client_certificate=shown)
    query = parse_qs(raw_query, keep_blank_values=True)

    async def run(headers: Headers) -> Answer:
        refused = authorization.authorize(exchange, full_path, headers, body)
        if refused is not None:
            return refused
        answer: Answer = await rest_apis.handle_execute(api_id, stage, request.method, path, headers, body, query)
        return answer

    if rest_apis.find_api_scope(api_id) is None:
        return await _by_http_api(exchange, body, query)
    return await serve(exchange, body, run)


async def _by_http_api(exchange: Exchange, body: bytes, query: dict[str, list[str]]) -> Reply:
    request = exchange.request
    forwarded = {"host": exchange.domain_name, "x-forwarded-for": request.source_ip}
    headers = request.joined_headers() | forwarded | {"x-forwarded-proto": "https", "x-forwarded-port": "443"}
    token = current.set(exchange)
    try:
        status, answered, content = await http_apis.handle_execute(
            exchange.api_id,
            exchange.stage,
            http_apis.decode_http_api_path(request.path),
            request.method,
            headers,
            body,
            query,
            raw_query_string=request.query,
        )
    finally:
        current.reset(token)
    lines = [
        (name, str(value))
        for name, values in answered.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    return Reply(status, lines, bytes(content))


def _response(reply: Reply) -> web.Response:
    # No Content-Length but that of the body: what a function said about it is not for this connection.
    lines = [(name, value) for name, value in reply.headers if name.lower() != "content-length"]
    return web.Response(status=reply.status, headers=CIMultiDict(lines), body=reply.body)
