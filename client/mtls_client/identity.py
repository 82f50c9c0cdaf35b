"""A credential with the SSL contexts that were made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtls_client.context import load, presenting

if TYPE_CHECKING:
    import ssl

    from mtls_client.credential import Credential


class Identity:
    """What is presented to servers. It never changes: a new version of the secret is a new identity.

    What the former identity had contexts for is made ready at once, so that no request waits for it.

    Raises:
        InvalidSecretError: OpenSSL does not take the certificate or the key.
        UnsupportedPlatformError: there are no files in memory.
    """

    def __init__(self, credential: Credential, former: Identity | None = None) -> None:
        import ssl

        load(credential, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))  # it does for one, so it will for all
        self.credential = credential
        self._contexts: dict[str | None, ssl.SSLContext] = {}
        for server_ca in list(former._contexts) if former else ():
            self.context(server_ca)

    def context(self, server_ca: str | None) -> ssl.SSLContext:
        """The context for servers under this CA, made once and shared: not for handing out."""
        made = self._contexts.get(server_ca)
        return made or self._contexts.setdefault(server_ca, presenting(self.credential, server_ca))
