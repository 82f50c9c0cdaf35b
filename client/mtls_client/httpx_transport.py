"""A transport for httpx, with one connection pool for each version of the certificate."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import httpx

from mtls_client import retrying
from mtls_client.pools import Pool, Pools

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from mtls_client.keeper import Keeper
    from mtls_client.refusal import PresentingContext


class ClientCertificateTransport(httpx.BaseTransport):
    """Sends every new request with the newest identity. See `ClientCertificate.httpx_transport`."""

    def __init__(self, keeper: Keeper, server_ca: str | None, limits: httpx.Limits | None) -> None:
        def make(context: PresentingContext) -> httpx.HTTPTransport:
            options: dict[str, Any] = {} if limits is None else {"limits": limits}
            return httpx.HTTPTransport(context, **options)

        self._pools = Pools(keeper, server_ca, make)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it, and if the certificate was refused and there is another by now, once more."""
        before, body = sys.exception(), once(request)
        try:
            return self._send(request)
        except httpx.TransportError as error:
            again = not (body and body.begun)
            if not retrying.wanted(error, self._pools.replaced, before=before, can_be_sent_again=again):
                raise
        return self._send(request)

    def close(self) -> None:
        """Close every connection, those in use included."""
        for connections in self._pools.clear():
            connections.close()

    def _send(self, request: httpx.Request) -> httpx.Response:
        pool, retired = self._pools.enter()
        try:
            if retired:
                retired.close()
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


class ReadableOnce(httpx.SyncByteStream, httpx.AsyncByteStream):
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


def once(request: httpx.Request) -> ReadableOnce | None:
    """Have the request's body watched, unless it can be read any number of times."""
    if isinstance(request.stream, httpx.ByteStream):
        return None
    body = ReadableOnce(request.stream)
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
