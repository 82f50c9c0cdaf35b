"""Transports for httpx, with one connection pool for each version of the certificate."""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx

from mtls_client import retrying
from mtls_client.pools import Pool, Pools

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from mtls_client.keeper import Keeper
    from mtls_client.refusal import PresentingContext

# httpcore passes a refusal by TLS 1.3 on to httpx as it is, where it runs on asyncio or trio.
_ERRORS = (httpx.TransportError, ssl.SSLError)


class ClientCertificateTransport(httpx.BaseTransport):
    """Sends every new request with the newest identity. See `ClientCertificate.httpx_transport`."""

    def __init__(self, keeper: Keeper, server_ca: str | None, limits: httpx.Limits | None) -> None:
        def make(context: PresentingContext) -> httpx.HTTPTransport:
            options: dict[str, Any] = {} if limits is None else {"limits": limits}
            return httpx.HTTPTransport(context, **options)

        self._pools = Pools(keeper, server_ca, make)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it, and if the certificate was refused and there is another by now, once more."""
        body = _once(request)
        try:
            return self._send(request)
        except _ERRORS as error:
            if not retrying.wanted(error, self._pools.replaced, can_be_sent_again=not (body and body.begun)):
                raise
        return self._send(request)

    def close(self) -> None:
        """Close every connection, those in use included."""
        for connections in self._pools.clear():
            connections.close()

    def _send(self, request: httpx.Request) -> httpx.Response:
        pool, retired = self._pools.enter()
        if retired:
            retired.close()
        try:
            response = pool.connections.handle_request(request)
        except BaseException:
            self._leave(pool)
            raise
        assert isinstance(response.stream, httpx.SyncByteStream)  # noqa: S101 - for the type checker
        response.stream = _Leaving(response.stream, lambda: self._leave(pool))
        return response

    def _leave(self, pool: Pool[httpx.HTTPTransport]) -> None:
        if self._pools.leave(pool):
            pool.connections.close()


class AsyncClientCertificateTransport(httpx.AsyncBaseTransport):
    """The same for `httpx.AsyncClient`. What may have to wait, waits in a thread of its own."""

    def __init__(self, keeper: Keeper, server_ca: str | None, limits: httpx.Limits | None) -> None:
        def make(context: PresentingContext) -> httpx.AsyncHTTPTransport:
            options: dict[str, Any] = {} if limits is None else {"limits": limits}
            return httpx.AsyncHTTPTransport(context, **options)

        self._pools = Pools(keeper, server_ca, make)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it, and if the certificate was refused and there is another by now, once more."""
        body = _once(request)
        try:
            return await self._send(request)
        except _ERRORS as error:
            judge = partial(retrying.wanted, can_be_sent_again=not (body and body.begun))
            if not await _in_thread(judge, error, self._pools.replaced):
                if isinstance(error, httpx.TransportError):
                    raise
                raise httpx.ReadError(str(error), request=request) from error
        return await self._send(request)

    async def aclose(self) -> None:
        """Close every connection, those in use included."""
        for connections in self._pools.clear():
            await connections.aclose()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        entered = self._pools.enter_at_once()
        if entered is None:
            entered = self._pools.enter(await _in_thread(self._pools.prepare))
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


async def _in_thread[T](function: Callable[..., T], *arguments: Any) -> T:
    from anyio import to_thread  # which httpx brings; not at the top, as whoever blocks does not need it

    return await to_thread.run_sync(function, *arguments)


class _Once(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that can be read only once, and whether that has begun."""

    def __init__(self, stream: httpx.SyncByteStream | httpx.AsyncByteStream) -> None:
        self._stream = stream
        self.begun = False

    def __iter__(self) -> Iterator[bytes]:
        assert isinstance(self._stream, httpx.SyncByteStream)  # noqa: S101 - httpx has looked
        self.begun = True
        return iter(self._stream)

    def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._stream, httpx.AsyncByteStream)  # noqa: S101 - httpx has looked
        self.begun = True
        return aiter(self._stream)


def _once(request: httpx.Request) -> _Once | None:
    """Have the request's body watched, unless it can be read any number of times."""
    if isinstance(request.stream, httpx.ByteStream):
        return None
    body = _Once(request.stream)
    request.stream = body
    return body


class _Leaving(httpx.SyncByteStream):
    """A response's body whose end is heard of, once."""

    def __init__(self, stream: httpx.SyncByteStream, leave: Callable[[], object]) -> None:
        self._stream = stream
        self._leave: Callable[[], object] | None = leave

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def close(self) -> None:
        leave, self._leave = self._leave, None
        try:
            self._stream.close()
        finally:
            if leave is not None:
                leave()


class _AsyncLeaving(httpx.AsyncByteStream):
    """The same on an event loop."""

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
