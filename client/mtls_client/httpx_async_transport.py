"""A transport for `httpx.AsyncClient`, with one connection pool for each version of the certificate."""

from __future__ import annotations

import asyncio
import socket
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohappyeyeballs
import anyio.abc
import anyio.to_thread
import httpcore
import httpx
from httpcore._backends.anyio import AnyIOStream  # which its AnyIOBackend returns

from mtls_client import retrying
from mtls_client.httpx_transport import once
from mtls_client.patient_socket import PatientSocket
from mtls_client.pools import Pool, Pools

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable

    from mtls_client.keeper import Keeper
    from mtls_client.refusal import PresentingContext

# As httpx has them.
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20)
# Seconds until the next address is tried beside the one before (RFC 8305, 5).
_NEXT_ADDRESS = 0.25


class AsyncClientCertificateTransport(httpx.AsyncBaseTransport):
    """See `ClientCertificate.httpx_async_transport`. What has to wait, waits in a thread of its own."""

    def __init__(self, keeper: Keeper, server_ca: str | None, limits: httpx.Limits | None) -> None:
        def make(context: PresentingContext) -> httpx.AsyncHTTPTransport:
            return _transport(context, limits or _LIMITS)

        self._pools = Pools(keeper, server_ca, make)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it, and if the certificate was refused and there is another by now, once more."""
        body = once(request)
        try:
            return await self._send(request)
        except httpx.TransportError as error:
            failure = error
        except ssl.SSLError as error:  # what httpcore passes on as it is, such as a refusal by TLS 1.3
            failure = httpx.ReadError(str(error), request=request)
            failure.__cause__ = error
        judge = partial(retrying.wanted, can_be_sent_again=not (body and body.begun))
        if not await anyio.to_thread.run_sync(judge, failure, self._pools.replaced):
            raise failure
        return await self._send(request)

    async def aclose(self) -> None:
        """Close every connection, those in use included."""
        for connections in self._pools.clear():
            await connections.aclose()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        entered = self._pools.enter_at_once()
        if entered is None:
            entered = self._pools.enter(await anyio.to_thread.run_sync(self._pools.prepare))
        pool, retired = entered
        if retired:
            await retired.aclose()
        try:
            response = await pool.connections.handle_async_request(request)
        except BaseException:
            await self._leave(pool)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - for the type checker
        response.stream = _AsyncLeaving(response.stream, lambda: self._leave(pool))
        return response

    async def _leave(self, pool: Pool[httpx.AsyncHTTPTransport]) -> None:
        if self._pools.leave(pool):
            await pool.connections.aclose()


class _AsyncLeaving(httpx.AsyncByteStream):
    """A response's body whose end is heard of, once."""

    def __init__(self, stream: httpx.AsyncByteStream, leave: Callable[[], Coroutine[None, None, None]]) -> None:
        self._stream = stream
        self._leave: Callable[[], Coroutine[None, None, None]] | None = leave

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        leave, self._leave = self._leave, None
        try:
            await self._stream.aclose()
        finally:
            if leave is not None:
                await leave()


def _transport(context: PresentingContext, limits: httpx.Limits) -> httpx.AsyncHTTPTransport:
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
    """Connects with sockets that are patient, where they need to be: on asyncio."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
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
