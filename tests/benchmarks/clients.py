"""What a certificate that stays fresh costs an application: beside the same library with a static one, at a reload, and
through rotations at 200 requests a second.

    python -m tests.benchmarks.clients            everything
    python -m tests.benchmarks.clients overhead   or: reload, load, fetching
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import requests
from aiohttp import web
from prometheus_client import CollectorRegistry
from requests.adapters import HTTPAdapter

from demo import sam
from demo.gateway import architecture
from localaws import LocalAws, sealed
from mtls_client import ClientCertificate, SecretVersion
from mtls_client.context import load
from mtls_client.credential import parse
from mtls_client.pools import Pools
from mtls_rotation.pki.certificates import CertifiedKey
from mtls_sidecar.metrics import ProxyMetrics
from mtls_sidecar.proxy import Proxy
from mtls_sidecar.sessions import Sessions
from mtls_sidecar.settings import ProxySettings
from tests.benchmarks.figures import Figure, Goal, Results, beside, in_turn
from tests.kit import builders, change_sets
from tests.kit.deployment import Deployment, await_first_rotation
from tests.proof.load import run
from tests.proof.load.application import LIBRARIES
from tests.unit.client.secrets_manager import value_of

SECRET = "bench/client"
# What a certificate that stays fresh may make of a request that takes next to no time.
OVERHEAD = 1.1
# For the overhead: so many blocks, each of so many requests with one and so many with the other.
BLOCKS, BLOCK = 40, 50
RELOADS = 200
# For the load.
RATE, SECONDS, ROTATIONS, CHECK_EVERY = 200.0, 25.0, 5, 1.0
# For the client that asks each time.
FETCHES, FETCHING = 8, 15


class Source:
    """A secret in memory, whose next version can be put at any time."""

    def __init__(self, issued: CertifiedKey) -> None:
        self.number, self.value = 0, value_of(issued)

    def put(self, value: str) -> None:
        self.number, self.value = self.number + 1, value

    def current_version(self, secret: str, *, fresh: bool = False) -> str:
        return str(self.number)

    def read(self, secret: str, version_id: str | None = None) -> SecretVersion:
        return SecretVersion(str(self.number), self.value)

    def close(self) -> None: ...


@dataclass
class Bench:
    """A partner, a certificate that stays fresh, and the same one as a static context."""

    partner: run.Partner
    ca: CertifiedKey
    source: Source
    certificate: ClientCertificate
    static: ssl.SSLContext

    @property
    def server_ca(self) -> str:
        return self.partner.server_ca.read_text()


@contextmanager
def bench() -> Iterator[Bench]:
    """One for the time of the block."""
    ca = builders.root("Bench CA")
    issued = builders.leaf(ca)
    source = Source(issued)
    with tempfile.TemporaryDirectory() as folder, run.partner(Path(folder)) as partner:
        partner.trust([ca.certificate])
        static = ssl.create_default_context(cadata=partner.server_ca.read_text())
        load(parse(SECRET, source.read(SECRET)), static)
        with ClientCertificate(SECRET, source=source, check_every=timedelta(minutes=5)) as certificate:
            certificate.credential()
            yield Bench(partner, ca, source, certificate, static)


def overhead() -> dict[str, dict[str, float]]:
    """Library → median milliseconds of a request on a kept connection, with each certificate, and their ratio."""
    measured = {}
    with bench() as it:
        measured["httpx"] = _compare(*_httpx(it))
        measured["requests"] = _compare(*_requests(it))
        for name, on_loop in (("httpx-async", _httpx_async), ("aiohttp", _aiohttp), ("sidecar", _sidecar)):
            measured[name] = asyncio.run(on_loop(it))
    return measured


def _httpx(it: Bench) -> tuple[Callable[[], object], Callable[[], object]]:
    fresh = it.certificate.httpx_client(base_url=it.partner.url, server_ca=it.server_ca)
    static = httpx.Client(base_url=it.partner.url, verify=it.static, trust_env=False)
    return lambda: fresh.get("/"), lambda: static.get("/")


def _requests(it: Bench) -> tuple[Callable[[], object], Callable[[], object]]:
    class Static(HTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            super().init_poolmanager(*arguments, ssl_context=it.static, **options)

    fresh, static = it.certificate.requests_session(it.server_ca), requests.Session()
    static.mount("https://", Static())
    static.verify = str(it.partner.server_ca)
    fresh.trust_env = static.trust_env = False
    return lambda: fresh.get(it.partner.url), lambda: static.get(it.partner.url)


async def _httpx_async(it: Bench) -> dict[str, float]:
    async with (
        it.certificate.httpx_async_client(base_url=it.partner.url, server_ca=it.server_ca) as fresh,
        httpx.AsyncClient(base_url=it.partner.url, verify=it.static, trust_env=False) as static,
    ):
        return await _compare_on_loop(lambda: fresh.get("/"), lambda: static.get("/"))


async def _aiohttp(it: Bench) -> dict[str, float]:
    async with (
        it.certificate.aiohttp_session(server_ca=it.server_ca) as fresh,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=it.static)) as static,
    ):
        return await _compare_on_loop(lambda: _get(fresh, it.partner.url), lambda: _get(static, it.partner.url))


async def _sidecar(it: Bench) -> dict[str, float]:
    """The proxy, against itself with a connector of aiohttp's own."""

    class Static:
        def aiohttp_connector(self, server_ca: str | None, **options: Any) -> aiohttp.BaseConnector:
            connector = aiohttp.TCPConnector(ssl=it.static, **options)
            vars(connector).update(retry=lambda request, handler: handler(request))
            return connector

    settings = ProxySettings.model_validate(
        {"secret": SECRET, "upstream": it.partner.url, "listen": "127.0.0.1:0", "server_ca": it.partner.server_ca}
    )
    static: Any = Static()
    runners, urls = [], []
    for certificate in (it.certificate, static):
        sessions = Sessions(certificate, settings)
        await sessions.follow(it.certificate.credential())
        runner = web.AppRunner(
            Proxy(sessions, settings, ProxyMetrics(CollectorRegistry())).application(), access_log=None
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        runners.append((runner, sessions))
        urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}/")
    async with aiohttp.ClientSession() as caller:
        compared = await _compare_on_loop(lambda: _get(caller, urls[0]), lambda: _get(caller, urls[1]))
    for runner, sessions in runners:
        await runner.cleanup()
        await sessions.close()
    return compared


async def _get(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(url, raise_for_status=True) as response:
        await response.read()


def _compare(fresh: Callable[[], object], static: Callable[[], object]) -> dict[str, float]:
    for send in (fresh, static) * BLOCK:
        send()
    taken: dict[Any, list[list[float]]] = {fresh: [], static: []}
    for number in range(BLOCKS):
        for send in (fresh, static) if number % 2 else (static, fresh):
            taken[send].append([_timed(send) for _ in range(BLOCK)])
    return _ratio(taken[fresh], taken[static])


async def _compare_on_loop(
    fresh: Callable[[], Awaitable[object]], static: Callable[[], Awaitable[object]]
) -> dict[str, float]:
    for send in (fresh, static) * BLOCK:
        await send()
    taken: dict[Any, list[list[float]]] = {fresh: [], static: []}
    for number in range(BLOCKS):
        for send in (fresh, static) if number % 2 else (static, fresh):
            block = []
            for _ in range(BLOCK):
                began = time.perf_counter()
                await send()
                block.append(time.perf_counter() - began)
            taken[send].append(block)
    return _ratio(taken[fresh], taken[static])


def _timed(send: Callable[[], object]) -> float:
    began = time.perf_counter()
    send()
    return time.perf_counter() - began


def _ratio(fresh: list[list[float]], static: list[list[float]]) -> dict[str, float]:
    """The median of the ratios of blocks that were measured one after the other, and how far these lie apart."""
    medians = [statistics.median(took for block in blocks for took in block) for blocks in (fresh, static)]
    ratios = [statistics.median(one) / statistics.median(other) for one, other in zip(fresh, static, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "fresh_ms": round(medians[0] * 1000, 4),
        "static_ms": round(medians[1] * 1000, 4),
        "ratio": round(middle, 4),
        "ratio_quartile_low": round(low, 4),
        "ratio_quartile_high": round(high, 4),
        "requests": BLOCKS * BLOCK,
    }


def fetching() -> Figure:
    """A request with a certificate that is kept fresh, beside one before which the secret is read and loaded anew."""
    with (
        bench() as it,
        tempfile.TemporaryDirectory() as folder,
        LocalAws.start(log_path=Path(folder) / "local-aws.log") as aws,
    ):
        secrets = sam.session(sealed(os.environ, aws.environment())).client("secretsmanager")
        secrets.create_secret(Name=SECRET, SecretString=it.source.value)
        fresh, _ = _httpx(it)

        def anew() -> None:
            read = secrets.get_secret_value(SecretId=SECRET)
            context = ssl.create_default_context(cadata=it.server_ca)
            load(parse(SECRET, SecretVersion(read["VersionId"], read["SecretString"])), context)
            with httpx.Client(base_url=it.partner.url, verify=context, trust_env=False) as client:
                client.get("/")

        def median(send: Callable[[], object]) -> float:
            return statistics.median(_timed(send) for _ in range(FETCHING)) * 1000

        median(fresh)
        measured = in_turn(FETCHES, lambda: median(fresh), lambda: median(anew))
    return beside(
        "a request with httpx, beside reading the secret each time",
        "ms",
        "one that reads the secret each time",
        measured,
        goal=1.0,
    )


def reload() -> dict[str, float]:
    """How long a request is held up by a reload that happens meanwhile, in milliseconds: the longest of each reload.

    A request asks for its connection pool, and gives it back; that is all that the certificate adds to it. It does so
    every 0.2 ms here, while another thread takes new versions into use, one after the other. The interpreter's lock,
    which that thread takes as well, is in what is measured. The handshake of the first request on each new certificate
    is not; that is what a new connection always costs.
    """
    with bench() as it:
        values = [value_of(builders.leaf(it.ca)) for _ in range(RELOADS)]
        pools = Pools(it.certificate._keeper, it.server_ca, lambda context: context)
        for library in (it.certificate.httpx_transport, it.certificate.requests_adapter):
            library(it.server_ca)
        reloading, done = threading.Event(), threading.Event()
        took: list[float] = []

        def take_each() -> None:
            for value in values:
                it.source.put(value)
                time.sleep(0.02)
                began = time.perf_counter()
                reloading.set()
                it.certificate.refresh()
                reloading.clear()
                took.append(time.perf_counter() - began)
            done.set()

        longest: list[float] = []
        thread = threading.Thread(target=take_each)
        thread.start()
        while not done.is_set():
            held_up = 0.0
            while reloading.is_set():
                began = time.perf_counter()
                pool, _ = pools.enter()
                pools.leave(pool)
                held_up = max(held_up, time.perf_counter() - began)
                time.sleep(0.0002)
            if held_up:
                longest.append(held_up)
            time.sleep(0.0002)
        thread.join()
    longest.sort()
    return {
        "p99_ms": round(longest[int(len(longest) * 0.99)] * 1000, 4),
        "longest_ms": round(longest[-1] * 1000, 4),
        "median_ms": round(statistics.median(longest) * 1000, 4),
        "reloads_met": len(longest),
        "reload_median_ms": round(statistics.median(took) * 1000, 3),
    }


def under_load() -> dict[str, dict[str, Any]]:
    """Library → what came of its requests through rotations of a deployed stack."""
    change_sets.build()
    outcomes: dict[str, dict[str, Any]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalAws.start(log_path=Path(folder) / "local-aws.log", enforce_iam=True, concurrent_executions=1000) as aws,
        run.partner(Path(folder)) as partner,
    ):
        environment = sealed(os.environ, aws.environment())
        stack = change_sets.deploy("bench-clients", {"Architecture": architecture()}, environment)
        deployment = await_first_rotation(Deployment(aws, stack, environment))
        for library in LIBRARIES:
            load = run.Load(deployment, partner, [library], RATE, CHECK_EVERY, Path(folder))
            (outcome,) = load.run(_rotations)
            outcomes[library] = outcome.summary()
    return outcomes


def _rotations(load: run.Load) -> None:
    """Spread over the time; the CA's is in the midst of them."""
    began = time.monotonic()
    for number in range(ROTATIONS):
        time.sleep(max(0.0, began + (number + 0.5) * SECONDS / ROTATIONS - time.monotonic()))
        if number == ROTATIONS // 2:
            load.rotate_ca()
        load.rotate_client()
    time.sleep(max(0.0, began + SECONDS - time.monotonic()))


def measure() -> Results:
    """All of it."""
    compared, reloaded, loaded = overhead(), reload(), under_load()
    figures = [
        Figure(
            name=f"a request with {library}, the certificate kept fresh",
            unit="ms",
            value=it["fresh_ms"],
            peer=it["static_ms"],
            against="a static certificate",
            ratio=round(it["ratio"], 3),
            low=round(it["ratio_quartile_low"], 3),
            high=round(it["ratio_quartile_high"], 3),
            runs=BLOCKS,
            goal=Goal(OVERHEAD),
        )
        for library, it in compared.items()
    ]
    figures.append(fetching())
    return Results(figures=figures, details={"client_reload": reloaded, "client_load": loaded})


def rows(details: Mapping[str, Any]) -> Iterator[str]:
    """What no ratio says, a line each."""
    reloaded, loaded = details["client_reload"], details["client_load"]
    yield (
        f"a request is held up by a reload for {reloaded['p99_ms']} ms at the 99th percentile of"
        f" {reloaded['reloads_met']} reloads that took {reloaded['reload_median_ms']} ms; the limit is 1 ms"
    )
    for library, it in loaded.items():
        yield (
            f"{library} through {it['rotations_picked_up']} rotations and one of the CA: {it['failed']} of"
            f" {it['requests']} requests failed, {it['requests_per_second']} a second; the newest certificate within"
            f" {it['slowest_pickup_seconds']} s, checks every {CHECK_EVERY} s"
        )


MEASURES: dict[str, Callable[[], dict[str, Any]]] = {
    "overhead": overhead,
    "reload": reload,
    "load": under_load,
    "fetching": lambda: asdict(fetching()),
}


if __name__ == "__main__":
    for wanted in sys.argv[1:] or MEASURES:
        print(wanted, json.dumps(MEASURES[wanted](), indent=2))
