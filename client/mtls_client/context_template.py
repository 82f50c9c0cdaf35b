"""How the contexts of one user are made: the server's CA, and what the user has set since."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from mtls_client.context import load, trusting
from mtls_client.forking import renew_after_fork

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from mtls_client.credential import Credential
    from mtls_client.refusal import PresentingContext


class ContextTemplate:
    """Makes a context for each new version of the certificate, all alike.

    Args:
        server_ca: PEM of the CAs that the server's certificate may chain to; None for the system's.

    Raises:
        InvalidServerCaError: it is no PEM.
    """

    def __init__(self, server_ca: str | None) -> None:
        self._server_ca = server_ca
        self._lock = threading.Lock()
        self._changes: dict[Any, Callable[[ssl.SSLContext], object]] = {}
        self._made: WeakSet[PresentingContext] = WeakSet()
        if server_ca is not None:
            import ssl

            trusting(ssl.SSLContext, server_ca)  # so that a mistake shows here, and not in the first request
        renew_after_fork(self)

    def context(
        self, credential: Credential, on_refusal: Callable[[str], object], *, temporary_file: bool
    ) -> PresentingContext:
        """A context that presents the certificate. See `context.load` for its errors."""
        from mtls_client.refusal import PresentingContext, PresentingObject, PresentingSocket

        made = trusting(PresentingContext, self._server_ca)
        made.sslsocket_class, made.sslobject_class = PresentingSocket, PresentingObject
        made.version_id, made.on_refusal = credential.version_id, on_refusal
        load(credential, made, temporary_file=temporary_file)
        with self._lock:
            for change in self._changes.values():
                change(made)
            self._made.add(made)
        return made

    def without_certificate(self) -> ssl.SSLContext:
        """A context that presents none, and verifies the server as every other."""
        import ssl

        return trusting(ssl.SSLContext, self._server_ca)

    def change(self, what: Any, how: Callable[[ssl.SSLContext], object]) -> None:
        """Set something on every context, those to come included.

        Args:
            what: names it; the last change of the same thing holds.
            how: does it.
        """
        with self._lock:
            self._changes[what] = how
            for made in self._made:
                how(made)

    def after_fork(self) -> None:
        """See `forking`."""
        self._lock = threading.Lock()
