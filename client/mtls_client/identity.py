"""A credential with the SSL contexts that were made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtls_client.context import presenting

if TYPE_CHECKING:
    import ssl

    from mtls_client.credential import Credential


class Identity:
    """What is presented to servers. It never changes: a new version of the secret is a new identity."""

    def __init__(self, credential: Credential) -> None:
        self.credential = credential
        self._contexts: dict[str | None, ssl.SSLContext] = {}

    def context(self, server_ca: str | None) -> ssl.SSLContext:
        """The context for servers under this CA, made once and shared: not for handing out."""
        made = self._contexts.get(server_ca)
        return made or self._contexts.setdefault(server_ca, presenting(self.credential, server_ca))

    def prepare_as(self, former: Identity | None) -> None:
        """Make now what the former identity had to make, so that no request waits for it.

        Raises:
            InvalidSecretError: OpenSSL does not take the certificate or the key.
            UnsupportedPlatformError: there are no files in memory.
        """
        for server_ca in list(former._contexts) if former else [None]:
            self.context(server_ca)
