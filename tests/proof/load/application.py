"""An application in a process of its own: sends requests at a steady rate with one library.

    python -m tests.proof.load.application LIBRARY URL SERVER_CA.pem SECRET RATE CHECK_EVERY

prints `ready` after its first answer, sends until its input ends, and then prints one line of JSON: a list of
[request's name, when it began, how long it took, what it failed with]. Times are of the monotonic clock, in seconds,
which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import aiohttp

from mtls_client import ClientCertificate

THREADS = 8
SECONDS = 10.0  # until a request has failed

Sent = tuple[str, float, float, str | None]


class Arguments:
    def __init__(self, library: str, url: str, server_ca: str, secret: str, rate: str, check_every: str) -> None:
        self.library = library
        self.url = url
        self.server_ca = Path(server_ca).read_text()
        self.secret = secret
        self.interval = 1 / float(rate)
        self.check_every = timedelta(seconds=float(check_every))
        self.stop = threading.Event()

    def certificate(self) -> ClientCertificate:
        return ClientCertificate(self.secret, check_every=self.check_every)

    def name(self, number: int) -> str:
        return f"/{self.library}/{number}"


def blocking(given: Arguments, send: Callable[[str], object]) -> list[Sent]:
    """Sends from several threads, each request when its time has come."""
    sent: list[Sent] = []
    send(given.name(0))
    print("ready", flush=True)
    begun, numbers = time.monotonic(), itertools.count(1)

    def work(_: int) -> None:
        for number in numbers:
            pause = begun + number * given.interval - time.monotonic()
            if given.stop.wait(max(0.0, pause)):
                return
            start, failure = time.monotonic(), None
            try:
                send(given.name(number))
            except Exception as error:  # noqa: BLE001 - it is looked at later
                failure = repr(error)
            sent.append((given.name(number), start, time.monotonic() - start, failure))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    return sent


async def on_loop(given: Arguments, send: Callable[[str], Awaitable[object]]) -> list[Sent]:
    """Sends from one event loop, each request when its time has come."""
    sent: list[Sent] = []
    await send(given.name(0))
    print("ready", flush=True)
    begun = time.monotonic()

    async def one(number: int) -> None:
        start, failure = time.monotonic(), None
        try:
            async with asyncio.timeout(SECONDS):
                await send(given.name(number))
        except Exception as error:  # noqa: BLE001 - it is looked at later
            failure = repr(error)
        sent.append((given.name(number), start, time.monotonic() - start, failure))

    async with asyncio.TaskGroup() as tasks:
        for number in itertools.count(1):
            await asyncio.sleep(max(0.0, begun + number * given.interval - time.monotonic()))
            if given.stop.is_set():
                break
            tasks.create_task(one(number))
    return sent


def with_httpx(given: Arguments) -> list[Sent]:
    with (
        given.certificate() as certificate,
        certificate.httpx_client(base_url=given.url, server_ca=given.server_ca, timeout=SECONDS) as client,
    ):
        return blocking(given, lambda name: client.get(name).raise_for_status())


def with_requests(given: Arguments) -> list[Sent]:
    with given.certificate() as certificate, certificate.requests_session(given.server_ca) as session:
        session.trust_env = False
        return blocking(given, lambda name: session.get(given.url + name, timeout=SECONDS).raise_for_status())


async def with_httpx_async(given: Arguments) -> list[Sent]:
    with given.certificate() as certificate:
        async with certificate.httpx_async_client(base_url=given.url, server_ca=given.server_ca) as client:

            async def send(name: str) -> None:
                (await client.get(name)).raise_for_status()

            return await on_loop(given, send)


async def with_aiohttp(given: Arguments) -> list[Sent]:
    with given.certificate() as certificate:
        async with certificate.aiohttp_session(server_ca=given.server_ca) as session:
            return await on_loop(given, lambda name: _get(session, given.url + name))


async def over_plain_http(given: Arguments) -> list[Sent]:
    """What calls the sidecar's proxy: knows of no certificate."""
    async with aiohttp.ClientSession() as session:
        return await on_loop(given, lambda name: _get(session, given.url + name))


async def _get(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(url, raise_for_status=True) as response:
        await response.read()


LIBRARIES: dict[str, Callable[[Arguments], list[Sent]]] = {
    "httpx": with_httpx,
    "httpx-async": lambda given: asyncio.run(with_httpx_async(given)),
    "requests": with_requests,
    "aiohttp": lambda given: asyncio.run(with_aiohttp(given)),
    "sidecar": lambda given: asyncio.run(over_plain_http(given)),
}


def main() -> None:
    given = Arguments(*sys.argv[1:])

    def await_end_of_input() -> None:
        sys.stdin.read()
        given.stop.set()

    threading.Thread(target=await_end_of_input, daemon=True).start()
    print(json.dumps(LIBRARIES[given.library](given)), flush=True)


if __name__ == "__main__":
    main()
