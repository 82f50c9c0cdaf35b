"""Sends a request to its route's upstream over mutual TLS, and brings back the answer or says why there is none."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from mtls_client import MtlsClientError, refusal
from mtls_rotation.gateway.proxy import paths, problems
from mtls_rotation.gateway.proxy.headers import UnusableHeaderError, incoming, outgoing
from mtls_rotation.gateway.proxy.problems import NoAnswerError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mtls_client import ClientCertificate
    from mtls_rotation.gateway.proxy.routes import Route, RouteTable

log = logging.getLogger(__name__)

# A function's answer may have 6 MiB, a body in base64 takes a third more, and headers want room too.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
LARGEST_ANSWER = (6 * 1024 * 1024 - 128 * 1024) * 3 // 4
# Seconds after which connections are not used again. They are kept for the requests of a busy environment.
_LONGEST_IDLE = 20.0
# One invocation at a time; the others are exchanges that were given up and have not noticed yet.
_MOST_EXCHANGES = 16
_NO_CONTENT = 204
_NO_BODY = frozenset({_NO_CONTENT, 304})


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as it came in.

    Attributes:
        path: as the caller sent it, from "/proxy/" on, percent-encodings included.
        query: names and values, decoded.
        headers: each name with all its values.
        client: the caller's address.
        host: whom the caller asked.
    """

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, Sequence[str]]
    body: bytes
    client: str
    host: str


# Of httpcore's trace events: what comes before anything of a request has been sent.
_BEGINNINGS = frozenset(
    {"connection.connect_tcp.started", "connection.start_tls.started", "http11.send_request_headers.started"}
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, list[str]]
    body: bytes


class Forwarding:
    """Forwards requests. One instance serves every invocation, and keeps its connections from one to the next.

    Args:
        table: gives the route table.
        certificate: gives the client certificate in a secret; None for the stack's own.
        wall_clock: seconds, on a clock that goes on while the execution environment is frozen.
    """

    def __init__(
        self,
        table: Callable[[], RouteTable],
        certificate: Callable[[str | None], ClientCertificate],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._certificate = certificate
        self._wall_clock = wall_clock
        self._lines: dict[_Destination, _Line] = {}
        self._exchanges = ThreadPoolExecutor(_MOST_EXCHANGES, thread_name_prefix="exchange")

    def send(self, request: Incoming, seconds: float) -> Answer:
        """Forward one request.

        Args:
            request: what came in.
            seconds: how long it may take, if the route does not say less.

        Raises:
            NoAnswerError: there is no answer from upstream.
            InvalidSettingsError: there is no route table.
        """
        try:
            name, rest = paths.split(request.path)
        except paths.UnusablePathError as error:
            raise NoAnswerError(problems.unusable_request(str(error))) from None
        route = self._table().routes.get(name)
        if route is None:
            raise NoAnswerError(problems.unknown_route(name))
        if request.method not in route.methods:
            raise NoAnswerError(problems.method_not_allowed(request.method, route.methods))
        seconds = min(seconds, route.timeout)
        outgoing_request = _made(request, rest, route, seconds)
        return self._sent(outgoing_request, route, seconds)

    def close(self) -> None:
        """End every connection. For tests: a function's connections end with its execution environment."""
        for line in self._lines.values():
            line.transport.close()
        self._lines.clear()

    def _sent(self, request: httpx.Request, route: Route, seconds: float) -> Answer:
        destination = _Destination(route.client_secret, route.server_ca)
        try:
            line = self._line(destination)
            # In a thread of its own: each of httpx's time-outs is for one read, and an upstream may send byte by byte.
            exchange = self._exchanges.submit(line.exchange, request)
            response, body = exchange.result(seconds)
        except TimeoutError:
            log.warning("no answer from upstream within %g s", seconds)
            del self._lines[destination]
            exchange.cancel()
            line.hang_up()
            exchange.add_done_callback(lambda _: line.transport.close())
            raise NoAnswerError(problems.too_slow(seconds)) from None
        except (httpx.TransportError, MtlsClientError) as error:
            log.warning("no answer from upstream: %s: %s", type(error).__name__, error)
            raise NoAnswerError(_problem(error, seconds)) from None
        if not 200 <= response.status_code < 600:
            log.warning("the upstream answered with the status %d", response.status_code)
            raise NoAnswerError(problems.BROKEN_ANSWER)
        # An answer to HEAD, a 204 and a 304 have no body (RFC 9110, section 6.4.1), whatever an upstream sends.
        has_body = request.method != "HEAD" and response.status_code not in _NO_BODY
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw]
        return Answer(
            response.status_code,
            incoming(
                headers, route.response_headers, keeps_length=not has_body and response.status_code != _NO_CONTENT
            ),
            body if has_body else b"",
        )

    def _line(self, destination: _Destination) -> _Line:
        now = self._wall_clock()
        line = self._lines.get(destination)
        if line is not None and not 0 <= now - line.used_at <= _LONGEST_IDLE:
            # The environment was frozen meanwhile, it may be: then the upstream has closed what looks open here.
            line.transport.close()
            line = None
        if line is None:
            certificate = self._certificate(destination.client_secret)
            line = self._lines[destination] = _Line(certificate.httpx_transport(destination.server_ca))
        line.used_at = now
        return line


class _Destination(NamedTuple):
    """What connections are kept apart by; the pool itself keeps the upstreams apart."""

    client_secret: str | None
    server_ca: str | None


class _Line:
    """A transport, with the sockets that it has opened.

    Attributes:
        used_at: when it was used last, in seconds.
    """

    def __init__(self, transport: httpx.BaseTransport) -> None:
        self.transport = transport
        self.used_at = 0.0
        self._sockets: list[socket.socket] = []
        self._given_up = False

    def exchange(self, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        """Send, and read the answer to its end."""
        request.extensions["trace"] = self._hear
        response = self.transport.handle_request(request)
        try:
            return response, b"" if request.method == "HEAD" else _read(response)
        finally:
            response.close()

    def hang_up(self) -> None:
        """End what is under way in another thread, which then closes its connection itself.

        To close it from here would be wrong: OpenSSL would go on reading from the number of a file that is another by
        then.
        """
        self._given_up = True
        for opened in self._sockets:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(opened, socket.SHUT_RDWR)

    def _hear(self, event: str, info: dict[str, Any]) -> None:
        """Hear of httpcore's trace events (https://www.encode.io/httpcore/extensions/#trace).

        Raises:
            ConnectError: the caller has been told that there is no answer: what has not been sent yet is not to be.
        """
        if self._given_up and event in _BEGINNINGS:
            raise httpx.ConnectError("given up")
        if event in {"connection.connect_tcp.complete", "connection.start_tls.complete"}:
            still_open = [it for it in self._sockets if it.fileno() != -1]
            self._sockets = [*still_open, info["return_value"].get_extra_info("socket")]


def _made(request: Incoming, rest: str, route: Route, seconds: float) -> httpx.Request:
    """The request for the upstream, whose origin is the route's and nobody else's."""
    try:
        target = paths.target(route.upstream, rest, request.query)
        headers = outgoing(
            request.headers,
            route.request_headers,
            client=request.client,
            host=request.host,
            forwarded=route.forwarded,
        )
    except (paths.UnusablePathError, UnusableHeaderError) as error:
        raise NoAnswerError(problems.unusable_request(str(error))) from None
    timeout = {
        "connect": min(route.connect_timeout, seconds),
        "read": seconds,
        "write": seconds,
        "pool": seconds,
    }
    made = httpx.Request(
        request.method,
        httpx.URL(route.upstream),
        headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        content=request.body or None,
        # The target as bytes: httpx would put percent-encodings into a form of its own.
        extensions={"timeout": timeout, "target": target},
    )
    if made.method in {"GET", "HEAD", "OPTIONS", "DELETE"} and not request.body:
        made.headers.pop("content-length", None)
    return made


def _read(response: httpx.Response) -> bytes:
    """The body as it was sent, still in its content coding."""
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > LARGEST_ANSWER:
            raise NoAnswerError(problems.answer_too_large(LARGEST_ANSWER))
    return bytes(body)


def _problem(error: Exception, seconds: float) -> Problem:
    """What the caller is told of an error."""
    if isinstance(error, MtlsClientError):
        return problems.NO_CERTIFICATE
    if isinstance(error, httpx.TimeoutException):
        return problems.too_slow(seconds)
    if tls := next((it for it in refusal.causes(error) if isinstance(it, ssl.SSLError)), None):
        if isinstance(tls, ssl.SSLCertVerificationError):
            return problems.BAD_SERVER_CERTIFICATE
        return problems.REFUSED_CERTIFICATE if refusal.is_alert(tls) else problems.TLS_FAILED
    return problems.UNREACHABLE if isinstance(error, httpx.ConnectError) else problems.BROKEN_ANSWER
