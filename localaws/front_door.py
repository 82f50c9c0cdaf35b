"""The TLS listener of the custom domains: ends (mutual) TLS and hands requests to the REST API behind the domain.

Which truststore a domain has is ``domains.py``'s business, which certificates may pass ``client_auth.py``'s.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import socket
import ssl
import uuid
from dataclasses import dataclass
from typing import Any
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

from localaws import client_auth, client_hello
from localaws.asgi import Answer, Headers
from localaws.domains import CustomDomains, ServedDomain
from localaws.server_ca import ServerCa

_HANDSHAKE_SECONDS = 10.0
_POLL_SECONDS = 0.002
_PEEK_BYTES = 16_384
_PAYLOAD_BYTES = 10 * 1024 * 1024
_VALIDITY = "%b %e %H:%M:%S %Y GMT"
_UNRECOGNIZED_NAME = bytes([21, 3, 3, 0, 2, 2, 112])  # a fatal TLS alert
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "content-length"}
_FORBIDDEN = b'{"message":"Forbidden"}'
logger = logging.getLogger("localaws.front_door")

# The client certificate and domain of the request being answered, for the events that functions get.
request_origin: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar("request_origin", default=None)


@dataclass(frozen=True)
class _Entrance:
    """A TLS context, and the domain and truststore that it was built for."""

    domain: ServedDomain
    context: ssl.SSLContext


@dataclass(frozen=True)
class _Visit:
    """What is known about a connection once TLS stands: judged once, good for all its requests."""

    domain: ServedDomain
    refusal: str | None
    origin: dict[str, Any]


class FrontDoor:
    """Serves every custom domain on one loopback socket."""

    def __init__(self, listener: socket.socket, domains: CustomDomains, ca: ServerCa) -> None:
        self._listener = listener
        self._domains = domains
        self._ca = ca
        self._entrances: dict[str, _Entrance] = {}
        self._by_context: WeakKeyDictionary[ssl.SSLContext, _Entrance] = WeakKeyDictionary()
        self._visits: WeakKeyDictionary[ssl.SSLObject, _Visit] = WeakKeyDictionary()
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
                task = loop.create_task(self._admit(connection))
                self._connections.add(task)
                task.add_done_callback(self._connections.discard)
        finally:
            await self._runner.cleanup()

    # -- connections

    async def _admit(self, connection: socket.socket) -> None:
        """Read which domain a client asks for and begin TLS with the context that is in force for it now."""
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                name = await _asked_for(connection)
            entrance = self._entrance(name)
            if entrance is None:
                logger.info("refused a client that asked for %s: no such custom domain", name)
                connection.send(_UNRECOGNIZED_NAME)
                connection.close()
                return
            server = self._runner.server if self._runner else None
            if server is None:
                connection.close()
                return
            await asyncio.get_running_loop().connect_accepted_socket(
                server, connection, ssl=entrance.context, ssl_handshake_timeout=_HANDSHAKE_SECONDS
            )
        except (OSError, ssl.SSLError, TimeoutError, client_hello.NotTlsError, IndexError) as error:
            logger.info("refused a connection: %s", error)
            connection.close()

    def _entrance(self, name: str | None) -> _Entrance | None:
        served = self._domains.served()
        domain = served.get(name or "")
        if domain is None and len(served) == 1:
            domain = next(iter(served.values()))
        if domain is None:
            return None
        known = self._entrances.get(domain.name)
        if known is None or known.domain != domain:
            known = _Entrance(domain, self._context(domain))
            self._entrances[domain.name] = known
            self._by_context[known.context] = known
            version = domain.truststore and domain.truststore.version
            logger.info("new connections to %s meet the truststore version %s", domain.name, version)
        return known

    def _context(self, domain: ServedDomain) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
        context.num_tickets = 0  # every new connection is verified in full
        context.set_alpn_protocols(["http/1.1"])
        self._ca.load_leaf(context, domain.name)
        if domain.truststore is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            if domain.truststore.anchors:
                context.load_verify_locations(cadata=domain.truststore.pem)
        return context

    # -- requests

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        tls = request.transport and request.transport.get_extra_info("ssl_object")
        if not tls:
            return web.Response(status=400)
        visit = self._visits.get(tls)
        if visit is None:
            visit = self._visits[tls] = _visit(self._by_context[tls.context].domain, tls)
        if visit.refusal is not None:
            logger.info("refused a client certificate for %s: %s", visit.domain.name, visit.refusal)
            return _response(403, {"x-amzn-ErrorType": "ForbiddenException"}, _FORBIDDEN)
        body = await request.read()
        with request_scope(visit.domain.account_id, visit.domain.region):
            token = request_origin.set(visit.origin)
            try:
                return _response(*await _forward(request, visit.domain.name, body))
            except Exception:
                logger.exception("no answer to %s %s", request.method, request.path)
                return _response(500, {}, b'{"message":"Internal server error"}')
            finally:
                request_origin.reset(token)


def _request(
    message: RawRequestMessage, payload: StreamReader, protocol: Any, writer: Any, task: asyncio.Task[None]
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_PAYLOAD_BYTES)


async def _asked_for(connection: socket.socket) -> str | None:
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


def _visit(domain: ServedDomain, tls: ssl.SSLObject) -> _Visit:
    origin: dict[str, Any] = {"domainName": domain.name}
    if domain.truststore is None:
        return _Visit(domain, None, origin)
    chain = [x509.load_der_x509_certificate(der) for der in tls.get_verified_chain()]
    return _Visit(domain, client_auth.refusal(chain), origin | {"clientCert": _client_certificate(chain[0])})


def _client_certificate(leaf: x509.Certificate) -> dict[str, Any]:
    """Return ``requestContext.identity.clientCert`` as functions get it."""
    return {
        "clientCertPem": leaf.public_bytes(Encoding.PEM).decode(),
        "subjectDN": leaf.subject.rfc4514_string(),
        "issuerDN": leaf.issuer.rfc4514_string(),
        "serialNumber": ":".join(f"{byte:02x}" for byte in _serial_bytes(leaf.serial_number)),
        "validity": {
            "notBefore": leaf.not_valid_before_utc.strftime(_VALIDITY),
            "notAfter": leaf.not_valid_after_utc.strftime(_VALIDITY),
        },
    }


def _serial_bytes(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1)


async def _forward(request: web.BaseRequest, domain: str, body: bytes) -> Answer:
    """Find the REST or HTTP API by the mappings of ``domain`` and run the request through its stage."""
    mapping = rest_apis.resolve_base_path_mapping(domain, request.path)
    if mapping is None:
        return 403, {"x-amzn-ErrorType": "ForbiddenException"}, _FORBIDDEN
    api_id, stage, path = mapping
    if not stage:  # a mapping without a stage leaves it to the first part of the path
        stage, _, rest = path.lstrip("/").partition("/")
        path = "/" + rest
    headers = _headers_of(request, domain)
    query = parse_qs(request.query_string, keep_blank_values=True)
    if rest_apis.find_api_scope(api_id) is None:
        by_http_api: Answer = await http_apis.handle_execute(
            api_id, stage, path, request.method, headers, body, query, raw_query_string=request.query_string
        )
        return by_http_api
    answer: Answer = await rest_apis.handle_execute(api_id, stage, request.method, path, headers, body, query)
    return answer


def _headers_of(request: web.BaseRequest, domain: str) -> Headers:
    headers: Headers = {}
    for name, value in request.headers.items():
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    headers["host"] = domain
    headers["x-forwarded-for"] = request.remote or "127.0.0.1"
    headers["x-forwarded-proto"], headers["x-forwarded-port"] = "https", "443"
    return headers


def _response(status: int, headers: Headers, body: Any) -> web.Response:
    sent: CIMultiDict[str] = CIMultiDict()
    for name, value in headers.items():
        if name.lower() not in _HOP_BY_HOP:
            sent.extend((name, str(item)) for item in (value if isinstance(value, list) else [value]))
    sent.setdefault("Content-Type", "application/json")
    sent.setdefault("x-amzn-RequestId", str(uuid.uuid4()))
    return web.Response(status=status, headers=sent, body=bytes(body))
