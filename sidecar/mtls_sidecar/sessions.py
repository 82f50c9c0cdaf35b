"""The session that requests go to the upstream with: a new one when the secret names another CA for the server."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from mtls_client import ClientCertificate, InvalidServerCaError
from mtls_client.credential import Credential
from mtls_sidecar import trust_bundle
from mtls_sidecar.settings import ProxySettings

logger = logging.getLogger("mtls_sidecar")

# What aiohttp would add to a request by itself.
_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class _Session:
    def __init__(self, server_ca: str | None, client: aiohttp.ClientSession) -> None:
        self.server_ca = server_ca
        self.client = client
        self.in_flight = 0


class Sessions:
    """Has the session for the server's CA as it is now; one before it is closed when nothing is under way on it.

    The client certificate is not among what makes a session another one: mtls_client sees to that.
    """

    def __init__(self, certificate: ClientCertificate, settings: ProxySettings) -> None:
        self._certificate = certificate
        self._settings = settings
        self._given = _read(settings.server_ca)
        self._newest: _Session | None = None

    @property
    def exist(self) -> bool:
        """Whether there is a session by now."""
        return self._newest is not None

    async def follow(self, credential: Credential) -> None:
        """A version is in use: see to it that the server is verified as it says.

        If it names a CA that cannot be used, that is logged, and the server is verified as before.
        """
        server_ca = self._given or credential.server_ca
        former = self._newest
        if former is not None and former.server_ca == server_ca:
            return
        try:
            self._newest = _Session(server_ca, self._make(server_ca))
        except InvalidServerCaError as error:
            logger.error("Version %s of the secret, endpoint.server_ca: %s", credential.version_id, error)
            return
        if former is not None and not former.in_flight:
            await former.client.close()

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[aiohttp.ClientSession]:
        """The session for what begins now; it stays open as long as the block runs.

        Raises:
            NoCertificateYetError: there has been no valid certificate yet.
        """
        session = self._newest
        if session is None:
            raise NoCertificateYetError
        session.in_flight += 1
        try:
            yield session.client
        finally:
            session.in_flight -= 1
            if session is not self._newest and not session.in_flight:
                await session.client.close()

    async def close(self) -> None:
        """Close every connection that nothing is under way on."""
        newest, self._newest = self._newest, None
        if newest is not None:
            await newest.client.close()

    def _make(self, server_ca: str | None) -> aiohttp.ClientSession:
        settings = self._settings
        # How many connections there are is for `max_requests` to say.
        connector = self._certificate.aiohttp_connector(server_ca, limit=0)
        return aiohttp.ClientSession(
            connector=connector,
            middlewares=(connector.retry,),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=_ADDED,
            timeout=aiohttp.ClientTimeout(
                total=settings.total_timeout or None,
                connect=settings.connect_timeout,
                sock_read=settings.idle_timeout,
            ),
            max_line_size=settings.max_header_size,
            max_field_size=settings.max_header_size,
            max_headers=settings.max_header_count,
        )


class NoCertificateYetError(Exception):
    """There has been no valid certificate since the start."""


def _read(server_ca: Path | None) -> str | None:
    return None if server_ca is None else trust_bundle.read(server_ca)
