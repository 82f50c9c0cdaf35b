"""A transport for `httpx.AsyncClient`, with one connection pool for each version of the certificate."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohappyeyeballs
import anyio.abc
import anyio.to_thread
import httpcore
import httpx
from httpcore._backends.anyio import AnyIOStream  # which its AnyIOBackend returns

from mtls_client.denial import LOWEST
from mtls_client.httpx_transport import answer, followed, once, origin
from mtls_client.patient_socket import PatientSocket
from mtls_client.pools import Pool, Pools
from mtls_client.refusal import refusal_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable

    from mtls_client.keeper import Keeper
    from mtls_client.redirects import Redirects
    from mtls_client.retrying import Retrying

logger = logging.getLogger("mtls_client")

# As httpx has them.
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20)
# Seconds until the next address is tried beside the one before (RFC 8305, 5).
_NEXT_ADDRESS = 0.25


class AsyncClientCertificateTransport(httpx.AsyncBaseTransport):
    """See `ClientCertificate.httpx_async_transport`. What has to wait, waits in a thread of its own."""

    def __init__(
        self,
        keeper: Keeper,
        retrying: Retrying,
        redirects: Redirects,
        server_ca: str | None,
        limits: httpx.Limits | None,
    ) -> None:
        def make(context: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
            return _transport(context, limits or _LIMITS)

        self._pools = Pools(keeper, server_ca, make)
        self._retrying = retrying
        self._redirects = redirects
        self._closing: set[asyncio.Future[None]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it, and if the certificate was refused and there is another by now, once more.

        Raises:
            RefusedRedirectError: a redirect would take the body to another origin.
            TypeError: `sni_hostname` would have another name verified than the URL's.
        """
        hop = followed(self._redirects, request)
        if not hop.presents:
            with hop.noted():
                return await self._bare(request)
        before, body = sys.exception(), once(request)
        try:
            response, version_id = await self._send(request)
        except httpx.TransportError as error:
            if refusal_in(error, before) is None:
                raise
            again = not (body and body.begun)
            judge = partial(self._retrying.after_error, before=before, can_be_sent_again=again)
            if not await anyio.to_thread.run_sync(judge, error, origin(request)):
                raise
        else:
            if response.status_code < LOWEST:
                return response
            answered = answer(request, response, version_id)
            if not self._retrying.may_be_refusal(answered, await _hold(response) if answered.has_problem else b""):
                return response
            try:
                judge = partial(self._retrying.after_refusal, can_be_sent_again=not (body and body.begun))
                if not await anyio.to_thread.run_sync(judge, answered):
                    return response
            except BaseException:  # such as a cancellation
                await response.aclose()
                raise
            await response.aclose()
        return (await self._send(request))[0]

    async def aclose(self) -> None:
        """Close every connection, those in use included."""
        for connections in self._pools.clear():
            await connections.aclose()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _bare(self, request: httpx.Request) -> httpx.Response:
        """The answer to a request that presents nothing."""
        try:
            return await self._pools.without_certificate().handle_async_request(request)
        except ssl.SSLError as error:  # what httpcore passes on as it is, such as a refusal by TLS 1.3
            raise httpx.ReadError(str(error), request=request) from error

    async def _send(self, request: httpx.Request) -> tuple[httpx.Response, str]:
        """The answer, and the version that was presented."""
        entered = self._pools.enter_at_once()
        if entered is None:
            entered = self._pools.enter(await anyio.to_thread.run_sync(self._pools.prepare))
        pool, retired = entered
        try:
            if retired:
                await self._close(retired)
            response = await pool.connections.handle_async_request(request)
        except ssl.SSLError as error:  # what httpcore passes on as it is, such as a refusal by TLS 1.3
            await self._leave(pool)
            raise httpx.ReadError(str(error), request=request) from error
        except BaseException:
            await self._leave(pool)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - for the type checker
        response.stream = _AsyncLeaving(response.stream, lambda: self._leave(pool))
        return response, pool.identity.credential.version_id

    async def _leave(self, pool: Pool[httpx.AsyncHTTPTransport]) -> None:
        if self._pools.leave(pool):
            await self._close(pool.connections)

    async def _close(self, connections: httpx.AsyncHTTPTransport) -> None:
        """On asyncio in a task of its own: whoever waits may be cancelled, and is not to leave connections behind."""
        if not _on_asyncio():
            await connections.aclose()
            return
        closing = asyncio.ensure_future(connections.aclose())
        self._closing.add(closing)
        closing.add_done_callback(self._closed)

    def _closed(self, closing: asyncio.Future[None]) -> None:
        self._closing.discard(closing)
        if not closing.cancelled() and (error := closing.exception()) is not None:
            logger.warning("Closing connections of a former certificate: %r", error)


async def _hold(response: httpx.Response) -> bytes:
    """Read the body, which may be read as before afterwards."""
    assert isinstance(response.stream, _AsyncLeaving)  # noqa: S101 - it is ours
    try:
        return await response.stream.hold()
    except BaseException:
        await response.aclose()
        raise


class _AsyncLeaving(httpx.AsyncByteStream):
    """A response's body whose end is heard of, once."""

    def __init__(self, stream: httpx.AsyncByteStream, leave: Callable[[], Coroutine[None, None, None]]) -> None:
        self._stream = stream
        self._held: bytes | None = None
        self._leave: Callable[[], Coroutine[None, None, None]] | None = leave

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream if self._held is None else httpx.ByteStream(self._held))

    async def hold(self) -> bytes:
        """Read it to its end, and keep it for whoever reads it then."""
        self._held = b"".join([chunk async for chunk in self._stream])
        return self._held

    async def aclose(self) -> None:
        leave, self._leave = self._leave, None
        try:
            await self._stream.aclose()
        finally:
            if leave is not None:
                await leave()


def _on_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _transport(context: ssl.SSLContext, limits: httpx.Limits) -> httpx.AsyncHTTPTransport:
    """Httpx's own, but for the sockets."""
    transport = httpx.AsyncHTTPTransport(context, limits=limits)
    # httpx has no way to say so; `verify` and `limits` are all that it gives to its pool beside it.
    transport._pool = httpcore.AsyncConnectionPool(
        ssl_context=context,
        max_connections=limits.max_connections,
        max_keepalive_connections=limits.max_keepalive_connections,
        keepalive_expiry=limits.keepalive_expiry,
        network_backend=_PatientBackend(),
    )
    return transport


class _PatientBackend(httpcore.AnyIOBackend):
    """Connects with sockets that are patient, on asyncio. On trio a refusal by TLS 1.3 may be a request's own error."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if not _on_asyncio():
            return await super().connect_tcp(host, port, timeout, local_address, socket_options)
        try:
            with anyio.fail_after(timeout):
                addresses = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                connected = await aiohappyeyeballs.start_connection(
                    addresses,
                    happy_eyeballs_delay=_NEXT_ADDRESS,
                    interleave=1,
                    socket_factory=PatientSocket.for_address,
                )
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return AnyIOStream(await anyio.abc.SocketStream.from_socket(connected))
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
