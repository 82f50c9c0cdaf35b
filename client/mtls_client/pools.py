"""Connection pools, one for each version of the certificate: the newest for what begins now, and those before it as
long as something is under way on them. Knows nothing of any library, and closes nothing by itself.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from mtls_client.context_template import ContextTemplate
from mtls_client.forking import renew_after_fork

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from mtls_client.identity import Identity
    from mtls_client.keeper import Keeper


class Pool[P]:
    """The connections that were made with one identity, and how much is under way on them.

    Attributes:
        identity: what they present.
        connections: the library's own pool.
        in_flight: how often it was entered and not left yet.
    """

    __slots__ = ("connections", "identity", "in_flight")

    def __init__(self, identity: Identity, connections: P) -> None:
        self.identity = identity
        self.connections = connections
        self.in_flight = 0


class Pools[P]:
    """The pools of one user.

    Args:
        keeper: has the newest identity.
        server_ca: PEM of the CAs that the server's certificate may chain to; None for the system's.
        make: makes the library's pool.

    Raises:
        InvalidServerCaError: the server's CA is no PEM.
    """

    def __init__(self, keeper: Keeper, server_ca: str | None, make: Callable[[ssl.SSLContext], P]) -> None:
        self._keeper = keeper
        self._template = ContextTemplate(server_ca)
        self._make = make
        self._lock = threading.Lock()
        self._newest: Pool[P] | None = None
        self._draining: set[Pool[P]] = set()
        self._bare: P | None = None
        self._parents: list[object] = []
        renew_after_fork(self)

    def enter(self, identity: Identity | None = None) -> tuple[Pool[P], P | None]:
        """The pool for what begins now, which stays open until it is left; and one that is to be closed, if there is.

        Args:
            identity: what `prepare` has just returned; None to ask for it here.

        Raises:
            MtlsClientError: there is no valid certificate.
        """
        return self._enter(identity or self._keeper.current())

    def enter_at_once(self) -> tuple[Pool[P], P | None] | None:
        """As `enter`, if it can be done without waiting; None if not: then call `prepare` in another thread."""
        identity = self._keeper.at_hand()
        if identity is None:
            return None
        pool = self._newest
        if (pool is None or pool.identity is not identity) and not identity.has_context(self._template):
            return None
        return self._enter(identity)

    def prepare(self) -> Identity:
        """Wait until there is a certificate; it is for `enter`, which then waits for nothing.

        Raises:
            MtlsClientError: there is no valid certificate.
        """
        identity = self._keeper.current()
        identity.context(self._template)
        return identity

    def without_certificate(self) -> P:
        """The connections for what presents none, such as a redirect to another origin. They verify all the same."""
        with self._lock:
            if self._bare is None:
                self._bare = self._make(self._template.without_certificate())
            return self._bare

    def leave(self, pool: Pool[P]) -> bool:
        """Something is over. Returns whether the pool is to be closed: this was the last on one that was replaced."""
        with self._lock:
            pool.in_flight -= 1
            if pool.in_flight or pool not in self._draining:
                return False
            self._draining.remove(pool)
            return True

    def clear(self) -> list[P]:
        """Forget every pool; they are to be closed, whatever is under way on them."""
        with self._lock:
            pools = [*self._draining, *([self._newest] if self._newest else [])]
            bare = [] if self._bare is None else [self._bare]
            self._newest = self._bare = None
            self._draining.clear()
        return [*(pool.connections for pool in pools), *bare]

    def after_fork(self) -> None:
        """See `forking`. The parent's connections are kept, as libraries may close what is forgotten."""
        self._lock = threading.Lock()
        self._parents.append((self._newest, self._draining, self._bare))
        self._newest, self._draining, self._bare = None, set(), None

    def _enter(self, identity: Identity) -> tuple[Pool[P], P | None]:
        with self._lock:
            pool = self._newest
            if pool is not None and pool.identity is identity:
                pool.in_flight += 1
                return pool, None
        identity.context(self._template)  # made outside of the lock
        with self._lock:
            # Looked up here, as it may have been replaced meanwhile: a pool never follows a newer one.
            newest = self._keeper.newest
            assert newest is not None  # noqa: S101 - there has been one
            retired = None
            if self._newest is None or self._newest.identity is not newest:
                retired = self._newest
                self._newest = Pool(newest, self._make(newest.context(self._template)))
            self._newest.in_flight += 1
            if retired and retired.in_flight:
                self._draining.add(retired)
                retired = None
            return self._newest, retired.connections if retired else None
