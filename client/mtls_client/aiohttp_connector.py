"""A connector for aiohttp, with a connector of its own for each version of the certificate, and the middleware that
makes a refused request again.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.base_protocol import BaseProtocol
from aiohttp.payload import BytesPayload
from aiohttp.tracing import Trace

from mtls_client.denial import LONGEST, LOWEST, Answered
from mtls_client.patient_socket import PatientSocket
from mtls_client.pools import Pool, Pools
from mtls_client.redirects import Hop, Redirects, origin_of
from mtls_client.refusal import refusal_in

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ClientRequest

    from mtls_client.keeper import Keeper
    from mtls_client.retrying import Retrying


class ClientCertificateConnector(aiohttp.BaseConnector):
    """Makes every new request on a connection of the newest identity. See `ClientCertificate.aiohttp_connector`."""

    allowed_protocol_schema_set = aiohttp.TCPConnector.allowed_protocol_schema_set

    def __init__(
        self, keeper: Keeper, retrying: Retrying, redirects: Redirects, server_ca: str | None, **options: Any
    ) -> None:
        super().__init__()
        self._retrying = retrying
        self._redirects = redirects
        self._presented: WeakKeyDictionary[ClientRequest, str] = WeakKeyDictionary()
        self._closing: set[asyncio.Future[Any]] = set()
        options.setdefault("socket_factory", PatientSocket.for_address)
        self._pools = Pools(keeper, server_ca, lambda context: aiohttp.TCPConnector(ssl=context, **options))

    async def connect(self, req: ClientRequest, traces: Any, timeout: Any) -> Any:
        """A connection of the newest identity, one that was used before if there is one.

        Raises:
            RefusedRedirectError: a redirect would take the body to another origin.
            TypeError: the request says by itself whom to trust, or by which name.
        """
        if req.ssl is not True or req.server_hostname is not None:
            raise TypeError(
                "a request takes no ssl and no server_hostname: the certificate decides that, and server_ca"
            )
        hop = self._followed(req, traces)
        if not hop.presents:
            with hop.noted():
                return await self._pools.without_certificate().connect(req, traces, timeout)
        entered = self._pools.enter_at_once()
        if entered is None:
            prepared = await asyncio.to_thread(self._pools.prepare)
            if self.closed:
                raise aiohttp.ClientConnectionError("Connector is closed.")
            entered = self._pools.enter(prepared)
        pool, retired = entered
        try:
            if retired is not None:
                self._close_later(retired)
            connection = await pool.connections.connect(req, traces, timeout)
        except BaseException:
            self._leave(pool)
            raise
        connection.add_callback(partial(self._leave, pool))
        self._presented[req] = pool.identity.credential.version_id
        return connection

    def close(self, *, abort_ssl: bool = False) -> Awaitable[None]:
        """Close every connection, those in use included."""
        for connector in self._pools.clear():
            self._close_later(connector, abort_ssl=abort_ssl)
        return asyncio.gather(super().close(abort_ssl=abort_ssl), *self._closing)  # type: ignore[return-value]

    async def retry(self, request: ClientRequest, handler: Any) -> aiohttp.ClientResponse:
        """The middleware: if the certificate was refused and there is another by now, the request is made once more."""
        before = sys.exception()
        try:
            response: aiohttp.ClientResponse = await handler(request)
        except aiohttp.ClientError as error:
            if refusal_in(error, before) is None:
                raise
            again = _can_be_sent_again(request)
            judge = partial(self._retrying.after_error, before=before, can_be_sent_again=again)
            if not await asyncio.to_thread(judge, error, str(request.url.origin())):
                raise
        else:
            if response.status < LOWEST:
                return response
            try:
                if not await self._refused_by(request, response):
                    return response
            except BaseException:
                response.close()
                raise
            response.close()
        again_answered: aiohttp.ClientResponse = await handler(request)
        return again_answered

    async def _refused_by(self, request: ClientRequest, response: aiohttp.ClientResponse) -> bool:
        """Whether the request is to be made again after this answer."""
        origin, version_id = str(request.url.origin()), self._presented.get(request)
        if version_id is None:
            return False  # another middleware answers by itself
        answered = Answered(origin, request.method, request.headers, response.status, response.headers, version_id)
        if not self._retrying.may_be_refusal(answered, await _hold(response) if answered.has_problem else b""):
            return False
        judge = partial(self._retrying.after_refusal, can_be_sent_again=_can_be_sent_again(request))
        # Meanwhile more of a body may have been sent than is kept: then the answer is better than an error.
        return await asyncio.to_thread(judge, answered) and _can_be_sent_again(request)

    def _followed(self, req: ClientRequest, traces: list[Trace]) -> Hop:
        """What holds for the request, noted in its traces: the requests that redirects lead to have the same list."""
        trail = next((it for it in traces if isinstance(it, _Trail)), None)
        url = req.url
        target = origin_of(url.scheme, url.raw_host or "", url.port)
        hop = self._redirects.follow(trail.hop if trail else None, target, has_body=_has_body(req))
        if trail is None:
            trail = _Trail(req.session)
            traces.append(trail)
        trail.hop = hop
        return hop

    async def _create_connection(self, req: ClientRequest, traces: Any, timeout: Any) -> ResponseHandler:
        raise NotImplementedError  # pragma: no cover - `connect` leaves it to the connector of an identity

    def _leave(self, pool: Pool[aiohttp.TCPConnector]) -> None:
        if self._pools.leave(pool):
            self._close_later(pool.connections)

    def _close_later(self, connector: aiohttp.TCPConnector, *, abort_ssl: bool = False) -> None:
        closing = asyncio.ensure_future(connector.close(abort_ssl=abort_ssl))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


class _Trail(Trace):
    """Where the requests that follow each other by redirects have come. It traces nothing."""

    _nothing = aiohttp.TraceConfig()
    _nothing.freeze()

    hop: Hop

    def __init__(self, session: aiohttp.ClientSession) -> None:
        super().__init__(session, self._nothing, SimpleNamespace())


def _has_body(request: ClientRequest) -> bool:
    body = request.body
    return body != b"" and getattr(body, "size", None) != 0


def _can_be_sent_again(request: ClientRequest) -> bool:
    body = request.body
    kept = isinstance(body, bytes | BytesPayload) or bool(getattr(body, "mtls_replayable", False))
    return kept and "Expect" not in request.headers  # which aiohttp waits for once only


async def _hold(response: aiohttp.ClientResponse) -> bytes:
    """Read the body, which may be read as before afterwards."""
    body = await response.content.read()
    loop = asyncio.get_running_loop()
    content = aiohttp.StreamReader(BaseProtocol(loop), LONGEST, loop=loop)
    content.feed_data(body)
    content.feed_eof()
    response.content = content
    return body
