"""A transport for httpx with one connection pool for each version of the certificate."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import httpx

from mtls_client.context import trusting
from mtls_client.forking import renew_after_fork
from mtls_client.refusal import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mtls_client.identity import Identity
    from mtls_client.keeper import Keeper

logger = logging.getLogger("mtls_client")


class ClientCertificateTransport(httpx.BaseTransport):
    """Sends every new request with the newest identity. See `ClientCertificate.httpx_transport`.

    The pool of an identity that was replaced is closed when its last response is.
    """

    def __init__(self, keeper: Keeper, server_ca: str | None, limits: httpx.Limits | None) -> None:
        if server_ca is not None:
            trusting(server_ca)  # so that a mistake shows here, and not in the first request
        self._keeper = keeper
        self._server_ca = server_ca
        self._limits = limits
        self._lock = threading.Lock()
        self._pool: _Pool | None = None
        self._draining: set[_Pool] = set()
        renew_after_fork(self)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it, and if the certificate was refused and there is another by now, once more."""
        pool = self._enter()
        attempt = Attempt(request.extensions.get("trace"))
        try:
            return self._send(pool, request, attempt)
        except httpx.TransportError as error:
            if not attempt.refused:
                raise
            version_id = pool.identity.credential.version_id
            logger.warning("%s refused the certificate of version %s: %s", request.url.host, version_id, error)
            if not self._keeper.replaced(pool.identity):
                error.add_note(
                    f"The server refused the certificate of version {version_id}, and there is no newer one."
                )
                raise
            if attempt.body_was_read and not isinstance(request.stream, httpx.ByteStream):
                error.add_note("Not sent again with the newer certificate, as the body can be read only once.")
                raise
        return self._send(self._enter(), request, Attempt(request.extensions.get("trace")))

    def close(self) -> None:
        """Close every connection, those in use included."""
        with self._lock:
            pools = [*self._draining, *([self._pool] if self._pool else [])]
            self._pool = None
            self._draining.clear()
        for pool in pools:
            pool.close()

    def after_fork(self) -> None:
        """See `forking`. The connections belong to the parent."""
        self._lock = threading.Lock()
        self._pool = None
        self._draining = set()

    def _send(self, pool: _Pool, request: httpx.Request, attempt: Attempt) -> httpx.Response:
        """Send it on a pool that was entered, which is left when the response is closed."""
        followed = httpx.Request(
            request.method,
            request.url,
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "trace": attempt},
        )
        try:
            response = pool.connections.handle_request(followed)
        except BaseException:
            self._leave(pool)
            raise
        assert isinstance(response.stream, httpx.SyncByteStream)  # noqa: S101 - for the type checker
        response.stream = _Leaving(response.stream, lambda: self._leave(pool))
        return response

    def _enter(self) -> _Pool:
        """The pool of the newest identity, which stays open until it is left."""
        self._keeper.current().context(self._server_ca)  # made outside of the lock
        with self._lock:
            # Looked up here, as it may have been replaced meanwhile: a pool never follows a newer one.
            newest = self._keeper.newest
            assert newest is not None  # noqa: S101 - current() found one
            retired = None
            if self._pool is None or self._pool.identity is not newest:
                retired, self._pool = self._pool, _Pool(newest, self._server_ca, self._limits)
            self._pool.in_flight += 1
            entered = self._pool
            if retired and retired.in_flight:
                self._draining.add(retired)
                retired = None
        if retired:
            retired.close()
        return entered

    def _leave(self, pool: _Pool) -> None:
        with self._lock:
            pool.in_flight -= 1
            drained = pool in self._draining and not pool.in_flight
            if drained:
                self._draining.remove(pool)
        if drained:
            pool.close()


class _Pool:
    """The connections that were made with one identity, and how many requests are under way on them."""

    def __init__(self, identity: Identity, server_ca: str | None, limits: httpx.Limits | None) -> None:
        context = identity.context(server_ca)
        self.identity = identity
        self.connections = (
            httpx.HTTPTransport(context) if limits is None else httpx.HTTPTransport(context, limits=limits)
        )
        self.in_flight = 0

    def close(self) -> None:
        self.connections.close()


class _Leaving(httpx.SyncByteStream):
    """A response's body whose end is heard of, once."""

    def __init__(self, stream: httpx.SyncByteStream, leave: Callable[[], object]) -> None:
        self._stream = stream
        self._leave: Callable[[], object] | None = leave

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        leave, self._leave = self._leave, None
        try:
            self._stream.close()
        finally:
            if leave is not None:
                leave()
