"""Plain HTTP in, mTLS out: one request on its way to the upstream, and its answer on the way back."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from http import HTTPStatus

import aiohttp
from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.typedefs import Handler, LooseHeaders
from aiohttp.web_protocol import RequestHandler
from multidict import CIMultiDict

from mtls_client import MtlsClientError
from mtls_sidecar import connections, headers, hosts, problem
from mtls_sidecar.headers import UnfitFieldError
from mtls_sidecar.hosts import FurtherHosts
from mtls_sidecar.metrics import ProxyMetrics
from mtls_sidecar.problem import Problem
from mtls_sidecar.replay import RequestBody, too_large
from mtls_sidecar.sessions import NoCertificateYetError, Sessions
from mtls_sidecar.settings import ProxySettings

logger = logging.getLogger("mtls_sidecar")

_ADDED_BY_AIOHTTP = ("Server", "Content-Type")
_MOST_DIGITS = 9


class Proxy:
    """Forwards requests, and knows which are under way.

    Args:
        sessions: to send them with.
        settings: limits and time-outs.
        metrics: counts.

    Attributes:
        draining: whether it is to end, so that each connection is told that its answer is the last.
    """

    def __init__(self, sessions: Sessions, settings: ProxySettings, metrics: ProxyMetrics) -> None:
        self._sessions = sessions
        self._settings = settings
        self.metrics = metrics
        self._under_way: dict[asyncio.Task[None] | None, RequestHandler] = {}
        self._none_under_way = asyncio.Event()
        self._none_under_way.set()
        self.draining = False

    def application(self) -> web.Application:
        """What aiohttp is to serve."""

        @web.middleware
        async def as_problem(request: web.Request, handler: Handler) -> web.StreamResponse:
            """What aiohttp refuses by itself, in the form of all other refusals."""
            try:
                return await handler(request)
            except web.HTTPException as error:
                refusal = Problem(error.status, "request_target", error.reason)
                self._note(request, refusal)
                return refusal.response()

        app = web.Application(middlewares=[as_problem])
        app.router.add_route("*", "/{anything:.*}", self._handle, expect_handler=self._leave_it_to_the_body)
        app.on_response_prepare.append(_undo_what_aiohttp_did)
        return app

    def is_busy(self, connection: RequestHandler) -> bool:
        """Whether a request is under way on a client's connection."""
        return connection in self._under_way.values()

    async def wait_until_idle(self) -> None:
        """Wait until no request is under way."""
        await self._none_under_way.wait()

    def note_refusal(self, refusal: Problem) -> None:
        """Count and log what was refused before it was a request."""
        self.metrics.failures.labels(refusal.code).inc()
        logger.warning("A connection, %s: %s", refusal.code, refusal.detail)

    def give_up(self) -> None:
        """Cut off every request that is under way."""
        for task in list(self._under_way):
            if task is not None:
                task.cancel()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        begun = time.monotonic()
        status: int | None = None
        task = asyncio.current_task()
        crowded = len(self._under_way) >= self._settings.max_requests
        self._under_way[task] = request.protocol
        self._none_under_way.clear()
        self.metrics.in_flight.inc()
        try:
            if crowded:
                raise _overloaded(self._settings.max_requests)
            response = await self._forward(request)
            status = response.status
        except Problem as refusal:
            status = refusal.status
            response = await self._refuse(request, refusal)
        except ConnectionError:
            raise  # there is nobody to answer
        except Exception:
            logger.exception("%s failed in a way that was not thought of", request.method)
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            response = await self._refuse(request, connections.unexpected())
        finally:
            del self._under_way[task]
            if not self._under_way:
                self._none_under_way.set()
            self.metrics.in_flight.dec()
            self.metrics.ended(request.method, status, time.monotonic() - begun)
        return response

    async def _refuse(self, request: web.Request, refusal: Problem) -> web.StreamResponse:
        self._note(request, refusal)
        response = refusal.response()
        if request.writer.output_size:
            # An answer has begun, and another in the midst of it would be taken for a part of it.
            _cut(request, reset=True)
            return response
        if self.draining:
            response.force_close()
        with suppress(ConnectionError):
            # Here, so that it is under way until it has gone.
            await response.prepare(request)
            await response.write_eof()
        return response

    async def _leave_it_to_the_body(self, request: web.Request) -> web.StreamResponse | None:
        """100 (Continue) is sent when the upstream is there to take the body. Other expectations: RFC 9110, 10.1.1."""
        if request.headers.get("Expect", "").lower() == "100-continue":
            return None
        detail = "Only 100-continue can be expected."
        refusal = Problem(HTTPStatus.EXPECTATION_FAILED, "expectation_failed", detail)
        self._note(request, refusal)
        return refusal.response()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        if request.version < HttpVersion10:
            detail = "HTTP/1.0 and HTTP/1.1 are understood here."
            raise Problem(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "http_version", detail, ends_connection=True)
        target = _target(request)
        self._see_whom_it_is_for(request)
        if self._settings.upstream.is_left_by(target):
            raise _bad_request("request_target", "The request's target might lead out of the upstream's base path.")
        fields = self._fields(request)
        if (itself := _answered_here(request, fields)) is not None:
            return itself
        body = self._body(request)
        try:
            async with (
                self._sessions.entered() as session,
                session.request(
                    request.method,
                    self._settings.upstream.url(target),
                    headers=fields,
                    data=body,
                    allow_redirects=False,
                ) as answer,
            ):
                return await self._relay(request, answer)
        except NoCertificateYetError:
            raise problem.no_valid_certificate() from None
        except (MtlsClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
            if body is not None and body.problem is not None:
                raise body.problem from None
            raise problem.of_failure(error) from None

    def _see_whom_it_is_for(self, request: web.Request) -> None:
        # Without one it is of HTTP/1.0, or else aiohttp has refused it: RFC 9112, 3.2.
        if not hosts.may_be_for(
            request.headers.get("Host"), self._settings.listen, self._settings.allow_host or FurtherHosts()
        ):
            detail = (
                "The field Host names neither loopback nor what the sidecar listens on: it may be a page in a browser "
                "that asks. --allow-host allows further hosts."
            )
            raise Problem(HTTPStatus.MISDIRECTED_REQUEST, "host", detail)

    def _fields(self, request: web.Request) -> CIMultiDict[str]:
        try:
            below_base = bool(self._settings.upstream.base)
            return headers.for_upstream(request.headers, request.version, below_base=below_base)
        except UnfitFieldError as error:
            raise _bad_request("header_not_utf8", f"The field {error} is not UTF-8, and cannot be passed on.") from None

    def _body(self, request: web.Request) -> RequestBody | None:
        """The request's body; None if it has none: RFC 9112, 6.3."""
        coding = request.headers.get("Transfer-Encoding")
        if coding is not None:
            # Whoever forwards a message must be sure where it ends: RFC 9112, 6.1.
            if request.version < HttpVersion11:
                detail = "HTTP/1.0 has no Transfer-Encoding."
                raise Problem(HTTPStatus.BAD_REQUEST, "transfer_coding", detail, ends_connection=True)
            if coding.strip().lower() != "chunked":
                detail = "The only transfer coding that is understood here is chunked."
                raise Problem(HTTPStatus.NOT_IMPLEMENTED, "transfer_coding", detail, ends_connection=True)
        elif request.content_length is None:
            return None
        limit = self._settings.max_body
        if (request.content_length or 0) > limit:
            raise too_large(limit)

        async def invite() -> None:
            # Unless the answer has begun already.
            if "Expect" in request.headers and not request.writer.output_size:
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0

        return RequestBody(
            request.content, request.content_length, limit=limit, idle=self._settings.idle_timeout, invite=invite
        )

    async def _relay(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        """Pass the answer on as it comes. From its first byte on, a failure can only be told by cutting it off."""
        assert answer.version is not None  # noqa: S101 - it has been parsed
        if answer.status < HTTPStatus.OK:
            raise problem.of_failure(aiohttp.ClientResponseError(answer.request_info, ()))
        try:
            fields = headers.for_client(answer.headers, answer.version)
        except UnfitFieldError as error:
            detail = f"The upstream's field {error} cannot be passed on."
            raise Problem(HTTPStatus.BAD_GATEWAY, "http_protocol_error", detail, upstream=True) from None
        # A phrase that cannot be passed on is no loss: nobody is to go by it (RFC 9112, 4).
        reason = answer.reason if (answer.reason or "").isprintable() else None
        response = _Relayed(status=answer.status, reason=reason, headers=fields)
        ends_with_connection = request.version < HttpVersion11 and response.content_length is None
        if self.draining or ends_with_connection:
            response.force_close()
        try:
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await self._write(response, chunk)
            await self._write(response, None)
        except (Problem, aiohttp.ClientError, OSError, TimeoutError) as error:
            _cut(request, reset=ends_with_connection)
            self._note(request, error if isinstance(error, Problem) else problem.of_failure(error))
        return response

    async def _write(self, response: web.StreamResponse, chunk: bytes | None) -> None:
        """Give the client a part of the answer, or None to end it. If it takes nothing, its connection ends.

        Raises:
            Problem: the client went away.
        """
        try:
            await (response.write_eof() if chunk is None else response.write(chunk))
        except (OSError, aiohttp.ClientError):
            raise Problem(HTTPStatus.BAD_REQUEST, "client_gone", "The client went away.") from None

    def _note(self, request: web.Request, found: Problem) -> None:
        self.metrics.failures.labels(found.code).inc()
        logger.warning("%s failed, %s: %s", request.method, found.code, found.detail)


class _Relayed(web.StreamResponse):
    """The upstream's answer. aiohttp is to add nothing to it but what its framing needs, and the date."""

    def __init__(self, *, status: int, reason: str | None, headers: LooseHeaders) -> None:
        super().__init__(status=status, reason=reason, headers=headers)
        self.came_with = frozenset(name.lower() for name in self.headers)
        self.length = self.headers.get("Content-Length")


async def _undo_what_aiohttp_did(_: web.Request, response: web.StreamResponse) -> None:
    came_with = response.came_with if isinstance(response, _Relayed) else frozenset({"content-type"})
    for name in _ADDED_BY_AIOHTTP:
        if name.lower() not in came_with:
            response.headers.popall(name, None)
    # What a GET would be answered with: RFC 9110, 8.6.
    if isinstance(response, _Relayed) and response.status == HTTPStatus.NOT_MODIFIED and response.length is not None:
        response.headers["Content-Length"] = response.length


def _target(request: web.Request) -> str:
    """The request's target in origin form: RFC 9112, 3.2.1."""
    target = request.raw_path
    if request.method in ("CONNECT", "TRACE"):
        raise Problem(HTTPStatus.NOT_IMPLEMENTED, "method", f"{request.method} is not forwarded.")
    if not target.startswith("/"):
        # In absolute form it names another server than the upstream: somebody took this for a forward proxy.
        raise _bad_request("request_target", "The request's target must be a path. This is no proxy for other servers.")
    if "#" in target:
        raise _bad_request("request_target", "The request's target must have no fragment.")
    return target


def _answered_here(request: web.Request, fields: CIMultiDict[str]) -> web.StreamResponse | None:
    """Whether OPTIONS has come as far as it was to go: RFC 9110, 7.6.2."""
    hops = fields.get("Max-Forwards", "")
    if request.method != "OPTIONS" or not (hops.isascii() and hops.isdigit()):
        return None
    left = hops.lstrip("0")
    if not left:
        return web.Response(status=HTTPStatus.NO_CONTENT)
    # Of more than can be counted, as many as are understood here (RFC 9110, 7.6.2).
    fields["Max-Forwards"] = str(min(int(left[:_MOST_DIGITS]), 10**_MOST_DIGITS) - 1)
    return None


def _cut(request: web.Request, *, reset: bool) -> None:
    """End the client's connection such that it cannot take the answer for complete.

    Args:
        request: whose connection.
        reset: whether its end by itself would mean that the answer is complete: then with RST.
    """
    transport = request.transport
    if transport is None:
        return
    if reset and isinstance(transport, asyncio.Transport):
        connections.reset(transport)
    else:
        transport.close()  # what was written still goes out, without the last chunk or all of the length


def _overloaded(limit: int) -> Problem:
    detail = f"{limit} requests are under way, which is as many as are allowed."
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "too_many_requests_under_way", detail, retry_after=1)


def _bad_request(code: str, detail: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, code, detail)
