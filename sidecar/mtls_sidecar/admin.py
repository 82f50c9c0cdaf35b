"""The listener for those who run the sidecar: health, readiness, metrics. Nothing that it tells is secret."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from mtls_sidecar.address import TcpAddress, bind
from mtls_sidecar.connections import Guard, GuardedSite
from mtls_sidecar.problem import Problem

logger = logging.getLogger("mtls_sidecar")

# Those who ask are the kubelet, Prometheus, and an operator.
_MOST_CONNECTIONS = 64
_HEAD_TIMEOUT = 10.0
_IDLE_TIMEOUT = 10.0


def application(registry: CollectorRegistry, why_not_ready: Callable[[], str | None]) -> web.Application:
    """`/healthz`, `/readyz` and `/metrics`.

    Args:
        registry: what `/metrics` shows.
        why_not_ready: says what is missing; None if nothing is.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        missing = why_not_ready()
        return web.Response(text=f"not ready: {missing}\n", status=503) if missing else web.Response(text="ok\n")

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    return app


@asynccontextmanager
async def listening(
    address: TcpAddress | None, registry: CollectorRegistry, why_not_ready: Callable[[], str | None]
) -> AsyncIterator[None]:
    """Answer as long as the block runs; not at all without an address.

    Raises:
        ListenError: the address is not to be had.
    """
    if address is None:
        yield
        return
    bound = bind(address)
    runner = web.AppRunner(application(registry, why_not_ready), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        # Whoever reaches it can hold connections, and the kubelet is to be answered all the same.
        guard = Guard(_MOST_CONNECTIONS, _HEAD_TIMEOUT, _IDLE_TIMEOUT, _note, any_makes_room=True)
        await GuardedSite(runner, bound, guard).start()
        logger.info("Health, readiness and metrics on %s.", TcpAddress(*bound.getsockname()[:2]))
        yield
    finally:
        await runner.cleanup()


def _note(refusal: Problem) -> None:
    logger.warning("A connection for health and metrics, %s: %s", refusal.code, refusal.detail)
