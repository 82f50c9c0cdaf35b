"""A pool manager for urllib3, with a pool manager of its own for each version of the certificate.

A urllib3 pool that is closed lets what is under way on it end, and only then closes the connection. So it is left as
soon as the answer has begun.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import urllib3

from mtls_client import retrying
from mtls_client.pools import Pools

if TYPE_CHECKING:
    from mtls_client.keeper import Keeper


class ClientCertificatePoolManager(urllib3.PoolManager):
    """Sends every new request with the newest identity. See `ClientCertificate.urllib3_pool_manager`."""

    def __init__(self, keeper: Keeper, server_ca: str | None, **options: Any) -> None:
        super().__init__(num_pools=1, headers=options.pop("headers", None))
        self._pools = Pools(keeper, server_ca, lambda context: urllib3.PoolManager(ssl_context=context, **options))

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = True, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        """As `urllib3.PoolManager.urlopen`; if the certificate was refused and there is another by now, once more."""
        try:
            return self._send(method, url, redirect, options)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            again = isinstance(options.get("body"), bytes | bytearray | str | None)
            if not retrying.wanted(error, self._pools.replaced, can_be_sent_again=again):
                raise
        return self._send(method, url, redirect, options)

    def clear(self) -> None:
        """Close every connection that is not in use."""
        for connections in self._pools.clear():
            close(connections)

    def connection_from_context(self, request_context: dict[str, Any]) -> Any:
        """A connection pool of the newest identity. It keeps that: better to use `request`."""
        pool, retired = self._pools.enter()
        if retired:
            close(retired)
        try:
            return pool.connections.connection_from_context(request_context)
        finally:
            if self._pools.leave(pool):
                close(pool.connections)

    def _send(self, method: str, url: str, redirect: bool, options: dict[str, Any]) -> urllib3.BaseHTTPResponse:
        pool, retired = self._pools.enter()
        if retired:
            close(retired)
        headers = options.get("headers") or self.headers
        try:
            return pool.connections.urlopen(method, url, redirect, **{**options, "headers": headers})
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
