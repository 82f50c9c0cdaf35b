"""A transport for httpx, with one connection pool for each version of the certificate."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import httpx

from mtls_client.denial import LOWEST, Answered
from mtls_client.pools import Pool, Pools
from mtls_client.redirects import Hop, Redirects, origin_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterator

    from mtls_client.keeper import Keeper
    from mtls_client.retrying import Retrying


class ClientCertificateTransport(httpx.BaseTransport):
    """Sends every new request with the newest identity. See `ClientCertificate.httpx_transport`."""

    def __init__(
        self,
        keeper: Keeper,
        retrying: Retrying,
        redirects: Redirects,
        server_ca: str | None,
        limits: httpx.Limits | None,
    ) -> None:
        def make(context: ssl.SSLContext) -> httpx.HTTPTransport:
            options: dict[str, Any] = {} if limits is None else {"limits": limits}
            return httpx.HTTPTransport(context, **options)

        self._pools = Pools(keeper, server_ca, make)
        self._retrying = retrying
        self._redirects = redirects

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it, and if the certificate was refused and there is another by now, once more.

        Raises:
            RefusedRedirectError: a redirect would take the body to another origin.
            TypeError: `sni_hostname` would have another name verified than the URL's.
        """
        hop = followed(self._redirects, request)
        if not hop.presents:
            with hop.noted():
                return self._pools.without_certificate().handle_request(request)
        before, body = sys.exception(), once(request)
        try:
            response, version_id = self._send(request)
        except httpx.TransportError as error:
            if not self._retrying.after_error(
                error, origin(request), before=before, can_be_sent_again=not (body and body.begun)
            ):
                raise
        else:
            if response.status_code < LOWEST:
                return response
            answered = answer(request, response, version_id)
            if not self._retrying.may_be_refusal(answered, _hold(response) if answered.has_problem else b""):
                return response
            if not self._retrying.after_refusal(answered, can_be_sent_again=not (body and body.begun)):
                return response
            response.close()
        return self._send(request)[0]

    def close(self) -> None:
        """Close every connection, those in use included."""
        for connections in self._pools.clear():
            connections.close()

    def _send(self, request: httpx.Request) -> tuple[httpx.Response, str]:
        """The answer, and the version that was presented."""
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
        return response, pool.identity.credential.version_id

    def _leave(self, pool: Pool[httpx.HTTPTransport]) -> None:
        if self._pools.leave(pool):
            pool.connections.close()


_HOP = "mtls_client.hop"
_SENT_TO = "mtls_client_sent_to"


def followed(redirects: Redirects, request: httpx.Request) -> Hop:
    """What holds for the request, noted in its extensions, which httpx hands on to the one that follows a redirect.

    Raises:
        RefusedRedirectError: a redirect would take the body to another origin.
        TypeError: an extension would have another name verified than the URL's.
    """
    if "sni_hostname" in request.extensions:
        raise TypeError("the server is verified by the name in the URL: the extension sni_hostname is not taken")
    url, stream = request.url, request.stream
    has_body = not (isinstance(stream, httpx.ByteStream) and not any(stream))
    target = origin_of(url.scheme, url.raw_host.decode("ascii"), url.port)
    # What httpx follows a redirect with is another request. Who sends one of theirs elsewhere asks anew.
    is_asked_anew = vars(request).get(_SENT_TO, url) != url
    vars(request)[_SENT_TO] = url
    former = None if is_asked_anew else request.extensions.get(_HOP)
    hop = redirects.follow(former, target, has_body=has_body)
    request.extensions[_HOP] = hop
    return hop


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


def origin(request: httpx.Request) -> str:
    """Whom it is sent to."""
    return request.url.netloc.decode("ascii")


def answer(request: httpx.Request, response: httpx.Response, version_id: str) -> Answered:
    """What is looked at of an answer, beside its body."""
    return Answered(
        origin(request), request.method, request.headers, response.status_code, response.headers, version_id
    )


def _hold(response: httpx.Response) -> bytes:
    """Read the body, which may be read as before afterwards."""
    assert isinstance(response.stream, _Leaving)  # noqa: S101 - it is ours
    try:
        return response.stream.hold()
    except BaseException:
        response.close()
        raise


class _Leaving(httpx.SyncByteStream):
    """A response's body whose end is heard of, once."""

    def __init__(self, stream: httpx.SyncByteStream, leave: Callable[[], object]) -> None:
        self._stream = stream
        self._held: bytes | None = None
        self._leave: Callable[[], object] | None = leave

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream if self._held is None else httpx.ByteStream(self._held))

    def hold(self) -> bytes:
        """Read it to its end, and keep it for whoever reads it then."""
        self._held = b"".join(self._stream)
        return self._held

    def close(self) -> None:
        leave, self._leave = self._leave, None
        try:
            self._stream.close()
        finally:
            if leave is not None:
                leave()
