"""A pool manager for urllib3, with a pool manager of its own for each version of the certificate.

A urllib3 pool that is closed lets what is under way on it end, and only then closes the connection. So it is left as
soon as the answer has begun.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import urllib3
from urllib3._request_methods import RequestMethods

from mtls_client import retrying
from mtls_client.pools import Pools

if TYPE_CHECKING:
    from mtls_client.keeper import Keeper


class ClientCertificatePoolManager(urllib3.PoolManager):
    """Sends every new request with the newest identity. See `ClientCertificate.urllib3_pool_manager`."""

    def __init__(self, keeper: Keeper, server_ca: str | None, **options: Any) -> None:
        super().__init__(num_pools=1, headers=options.pop("headers", None))
        self._pools = Pools(keeper, server_ca, lambda context: urllib3.PoolManager(ssl_context=context, **options))

    def clear(self) -> None:
        """Close every connection that is not in use."""
        for connections in self._pools.clear():
            close(connections)

    def connection_from_host(  # type: ignore[override]
        self, host: str | None, port: int | None = None, scheme: str | None = "http", pool_kwargs: Any = None
    ) -> _Host:
        """What makes requests to one host; each is made with the newest identity."""
        return _Host(self._pools, (host, port, scheme, pool_kwargs))


class _Host(RequestMethods):
    """Makes requests to one host. A redirect to another is a request of its own: each may be refused."""

    def __init__(self, pools: Pools[urllib3.PoolManager], host: tuple[Any, ...]) -> None:
        super().__init__()
        self._pools = pools
        self._host = host

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, body: Any = None, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        """As urllib3's; if the certificate was refused and there is another by now, once more."""
        before = sys.exception()
        try:
            return self._send(method, url, body, options)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            again = isinstance(body, bytes | bytearray | str | None)
            if not retrying.wanted(error, self._pools.replaced, before=before, can_be_sent_again=again):
                raise
        return self._send(method, url, body, options)

    def is_same_host(self, url: str) -> bool:
        """As urllib3's: where this is False, a redirect takes no credentials with it."""
        return bool(urllib3.PoolManager().connection_from_host(*self._host).is_same_host(url))

    def _send(self, method: str, url: str, body: Any, options: dict[str, Any]) -> urllib3.BaseHTTPResponse:
        pool, retired = self._pools.enter()
        try:
            if retired:
                close(retired)
            host = pool.connections.connection_from_host(*self._host)
            return host.urlopen(method, url, body=body, **options)
        finally:
            if self._pools.leave(pool):
                close(pool.connections)


def close(manager: urllib3.PoolManager) -> None:
    """Close every connection, those in use when what is under way on them has ended.

    `clear` would only forget the pools: an answer that is being read keeps its own, and gives a connection back to it.
    """
    for key in list(manager.pools.keys()):
        if (pool := manager.pools.get(key)) is not None:
            pool.close()
    manager.clear()
