"""A pool manager for urllib3, with a pool manager of its own for each version of the certificate.

A urllib3 pool that is closed lets what is under way on it end, and only then closes the connection. So it is left as
soon as the answer has begun.
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import urllib3
from urllib3._request_methods import RequestMethods

from mtls_client.denial import LOWEST, Answered
from mtls_client.pools import Pools
from mtls_client.redirects import Hop, Redirects, origin_of

if TYPE_CHECKING:
    from mtls_client.keeper import Keeper
    from mtls_client.retrying import Retrying


# What says whom to trust, by which name, or what to present: a pool's options that would undo what this is for.
UNFIT = frozenset(
    {
        *(
            "ssl_context",
            "cert_file",
            "key_file",
            "key_password",
            "cert_reqs",
            "ca_certs",
            "ca_cert_dir",
            "ca_cert_data",
        ),
        *("ssl_version", "ssl_minimum_version", "ssl_maximum_version"),
        *("assert_hostname", "assert_fingerprint", "server_hostname"),
    }
)


class ClientCertificatePoolManager(urllib3.PoolManager):
    """Sends every new request with the newest identity. See `ClientCertificate.urllib3_pool_manager`."""

    def __init__(
        self, keeper: Keeper, retrying: Retrying, redirects: Redirects, server_ca: str | None, **options: Any
    ) -> None:
        super().__init__(num_pools=1, headers=options.pop("headers", None))
        self._pools = Pools(keeper, server_ca, lambda context: urllib3.PoolManager(ssl_context=context, **options))
        self._retrying = retrying
        self._redirects = redirects

    def clear(self) -> None:
        """Close every connection that is not in use."""
        for connections in self._pools.clear():
            close(connections)

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = True, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        """As urllib3's. A redirect to another origin is followed without the certificate.

        Raises:
            RefusedRedirectError: it would take the body there.
        """
        options.setdefault(_TRAIL, _Trail())  # which comes back with the request that follows a redirect
        return super().urlopen(method, url, redirect=redirect, **options)

    def connection_from_host(  # type: ignore[override]
        self, host: str | None, port: int | None = None, scheme: str | None = "http", pool_kwargs: Any = None
    ) -> _Host:
        """What makes requests to one host; each is made with the newest identity.

        Raises:
            TypeError: an option of the pool would say whom to trust, or what to present.
        """
        if found := sorted(UNFIT & (pool_kwargs or {}).keys()):
            raise TypeError(f"pool_kwargs takes no {', '.join(found)}: the certificate decides that, and server_ca")
        return _Host(self._pools, self._retrying, self._redirects, (host, port, scheme, pool_kwargs))

    def connection_from_context(self, request_context: dict[str, Any]) -> _Host:  # type: ignore[override]
        """As `connection_from_host`."""
        options = dict(request_context)
        host = [options.pop(name, None) for name in ("host", "port", "scheme")]
        return self.connection_from_host(host[0], host[1], host[2], pool_kwargs=options)


_TRAIL = "mtls_client_trail"


@dataclass
class _Trail:
    """The last of the requests that follow each other by redirects."""

    hop: Hop | None = None


class _Host(RequestMethods):
    """Makes requests to one host. A redirect to another is a request of its own: each may be refused."""

    def __init__(
        self,
        pools: Pools[urllib3.PoolManager],
        retrying: Retrying,
        redirects: Redirects,
        host: tuple[Any, ...],
    ) -> None:
        super().__init__()
        self._pools = pools
        self._retrying = retrying
        self._redirects = redirects
        self._host = host
        self._origin = f"{host[0]}:{host[1]}"

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, body: Any = None, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        """As urllib3's; if the certificate was refused and there is another by now, once more.

        Raises:
            RefusedRedirectError: a redirect would take the body to another origin.
        """
        trail = options.pop(_TRAIL, None) or _Trail()
        host, port, scheme, _ = self._host
        hop = self._redirects.follow(
            trail.hop,
            origin_of(scheme or "http", host or "", port),
            has_body=body is not None and body not in (b"", ""),
        )
        trail.hop = hop
        if not hop.presents:
            with hop.noted():
                bare = self._pools.without_certificate().connection_from_host(*self._host)
                return bare.urlopen(method, url, body=body, **options)
        before = sys.exception()
        again = isinstance(body, bytes | bytearray | str | None)
        try:
            response, version_id = self._send(method, url, body, options)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            if not self._retrying.after_error(error, self._origin, before=before, can_be_sent_again=again):
                raise
        else:
            if response.status < LOWEST:
                return response
            sent = options.get("headers") or ()
            answered = Answered(self._origin, method, sent, response.status, response.headers, version_id)
            problem = b""
            if answered.has_problem and options.get("preload_content", True):
                problem = response.data
            elif answered.has_problem:
                problem, response = held(response, method)
            if not self._retrying.may_be_refusal(answered, problem):
                return response
            if not self._retrying.after_refusal(answered, can_be_sent_again=again):
                return response
            response.close()
        return self._send(method, url, body, options)[0]

    def is_same_host(self, url: str) -> bool:
        """As urllib3's: where this is False, a redirect takes no credentials with it."""
        return bool(urllib3.PoolManager().connection_from_host(*self._host).is_same_host(url))

    def _send(self, method: str, url: str, body: Any, options: dict[str, Any]) -> tuple[urllib3.BaseHTTPResponse, str]:
        """The answer, and the version that was presented."""
        pool, retired = self._pools.enter()
        try:
            if retired:
                close(retired)
            host = pool.connections.connection_from_host(*self._host)
            return host.urlopen(method, url, body=body, **options), pool.identity.credential.version_id
        finally:
            if self._pools.leave(pool):
                close(pool.connections)


def held(response: urllib3.BaseHTTPResponse, method: str) -> tuple[bytes, urllib3.BaseHTTPResponse]:
    """Read the body; with it comes the same answer, of which nothing is read yet."""
    assert isinstance(response, urllib3.HTTPResponse)  # noqa: S101 - urllib3 makes no other for HTTP/1.1
    body = response.read(decode_content=False)
    return body, urllib3.HTTPResponse(
        io.BytesIO(body),
        response.headers,
        response.status,
        response.version,
        response.version_string,
        response.reason,
        preload_content=False,
        decode_content=response.decode_content,
        original_response=response._original_response,
        msg=response.msg,
        retries=response.retries,
        request_method=method,
        request_url=response.geturl(),
        auto_close=response.auto_close,
    )


def close(manager: urllib3.PoolManager) -> None:
    """Close every connection, those in use when what is under way on them has ended.

    `clear` would only forget the pools: an answer that is being read keeps its own, and gives a connection back to it.
    """
    for key in list(manager.pools.keys()):
        if (pool := manager.pools.get(key)) is not None:
            pool.close()
    manager.clear()
