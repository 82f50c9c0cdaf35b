"""The proxy's own listener: from the first connection that it accepts to the last request that it sees through."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from types import TracebackType
from typing import Self

from aiohttp import web

from mtls_sidecar.address import Address, TcpAddress, UnixAddress, bind
from mtls_sidecar.connections import Guard, GuardedSite, allow_open_files
from mtls_sidecar.proxy import Proxy
from mtls_sidecar.settings import ProxySettings
from mtls_sidecar.trusted_path import Trust

logger = logging.getLogger("mtls_sidecar")

_BACKLOG = 512
# Seconds: for how long what is left of a request's body is read after its answer.
_LINGERING = 5.0


class Listener:
    """Listens as long as the block runs.

    Attributes:
        address: where, with the port that the kernel chose if it was to choose one.

    Raises:
        ListenError: the address is not to be had.
    """

    def __init__(self, proxy: Proxy, settings: ProxySettings) -> None:
        self._proxy = proxy
        self._settings = settings
        self._runner = web.AppRunner(
            proxy.application(),
            access_log=None,
            auto_decompress=False,
            handler_cancellation=True,
            lingering_time=_LINGERING,
            max_line_size=settings.max_header_size,
            max_field_size=settings.max_header_size,
            max_headers=settings.max_header_count,
            shutdown_timeout=0.0,
        )
        self._guard = Guard(settings.max_connections, settings.head_timeout, settings.idle_timeout, proxy.note_refusal)
        proxy.metrics.connections.set_function(lambda: len(self._guard.present))
        self.address: Address = settings.listen
        self._is_name_free = False

    async def __aenter__(self) -> Self:
        trust = Trust.of_this_process(shared_volume=self._settings.shared_volume)
        bound = bind(self._settings.listen, self._settings.group, trust)
        if isinstance(self.address, TcpAddress):
            self.address = TcpAddress(*bound.getsockname()[:2])
        await self._runner.setup()
        allow_open_files(self._settings.max_connections + self._settings.max_requests)
        await GuardedSite(self._runner, bound, self._guard, backlog=_BACKLOG).start()
        logger.info("Plain HTTP on %s goes to %s over mTLS.", self.address, self._settings.upstream)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_name_free()
        await self._runner.cleanup()

    async def drain(self, hurried: asyncio.Event) -> None:
        """Accept nothing more, and see through what is under way, for as long as the settings allow.

        Args:
            hurried: gives it up at once.
        """
        self._proxy.draining = True
        self._give_name_free()
        for site in self._runner.sites:
            await site.stop()
        await asyncio.sleep(0)  # so that what has arrived counts as under way
        server = self._runner.server
        # Not aiohttp's own way, which throws away what clients are still sending of their requests' bodies.
        for connection in server.connections if server else ():
            if not self._proxy.is_busy(connection):
                connection.force_close()
        idle, hurry = asyncio.ensure_future(self._proxy.wait_until_idle()), asyncio.ensure_future(hurried.wait())
        await asyncio.wait({idle, hurry}, timeout=self._settings.grace, return_when=asyncio.FIRST_COMPLETED)
        if not idle.done():
            logger.warning("Requests that were still under way after %g s are cut off.", self._settings.grace)
            self._proxy.give_up()
        for waiting in (idle, hurry):
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting

    def _give_name_free(self) -> None:
        """Remove the Unix socket, once: as long as this listens, nobody else has put one there. Later somebody may."""
        if isinstance(self.address, UnixAddress) and not self._is_name_free:
            self._is_name_free = True
            self.address.path.unlink(missing_ok=True)
