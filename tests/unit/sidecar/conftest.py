"""What the sidecar's tests share: a secret that can be rotated, an upstream, and a proxy between the two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from mtls_client import ClientCertificate, SecretsManagerSource
from mtls_rotation.pki.certificates import CertifiedKey, serial
from mtls_sidecar.address import UnixAddress
from mtls_sidecar.listener import Listener
from mtls_sidecar.metrics import ProxyMetrics
from mtls_sidecar.proxy import Proxy
from mtls_sidecar.sessions import Sessions
from mtls_sidecar.settings import ProxySettings
from tests.kit import builders
from tests.unit.client.secrets_manager import SECRET, SecretsManager, value_of
from tests.unit.sidecar.upstream import Fields, Upstream, read_body, read_head, upstream


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def secrets() -> SecretsManager:
    return SecretsManager()


@pytest.fixture
def first(secrets: SecretsManager, ca: CertifiedKey) -> CertifiedKey:
    """The certificate of the first version."""
    issued = builders.leaf(ca)
    secrets.rotate(value_of(issued))
    return issued


@pytest.fixture(scope="session")
def other_ca() -> CertifiedKey:
    return builders.root("Other CA")


class Clock:
    """The certificate's clock: the real one, until it is put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def certificate(secrets: SecretsManager, clock: Clock) -> Iterator[ClientCertificate]:
    client: Any = secrets
    every = timedelta(minutes=5)
    with ClientCertificate(
        SECRET, source=SecretsManagerSource(client), check_every=every, background=True, clock=clock
    ) as it:
        yield it


@pytest.fixture
async def api(ca: CertifiedKey) -> AsyncIterator[Upstream]:
    async with upstream(builders.server_certificate(ca), ca.certificate) as serving:
        yield serving


@dataclass
class Answer:
    status: int
    fields: Fields
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]


@dataclass
class Connection:
    """A client's connection, to the byte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> Answer:
        line, fields = await read_head(self.reader)
        return Answer(int(line.split(" ")[1]), fields, b"")

    async def answer(self) -> Answer:
        head = await self.head()
        if head.status >= 200:
            head.body = await read_body(head.fields, self.reader)
        return head

    async def ask(self, data: bytes) -> Answer:
        await self.send(data)
        return await self.answer()

    async def ended(self) -> bool:
        """Wait until the proxy has closed it; False if it sends anything else."""
        return await self.reader.read(1) == b""

    def close(self) -> None:
        self.writer.close()


@dataclass
class Running:
    """A proxy that listens."""

    listener: Listener
    proxy: Proxy
    sessions: Sessions
    registry: CollectorRegistry
    opened: list[Connection] = field(default_factory=list)

    async def connect(self, limit: int = 1 << 16) -> Connection:
        address = self.listener.address
        if isinstance(address, UnixAddress):
            connection = Connection(*await asyncio.open_unix_connection(str(address.path), limit=limit))
        else:
            connection = Connection(*await asyncio.open_connection(address.host, address.port, limit=limit))
        self.opened.append(connection)
        return connection

    async def ask(self, data: bytes) -> Answer:
        """One request on a connection of its own."""
        connection = await self.connect()
        try:
            return await connection.ask(data)
        finally:
            connection.close()

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


type Proxying = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def proxying(certificate: ClientCertificate, api: Upstream, tmp_path: Path) -> Proxying:
    """Makes a proxy from the client certificate to the upstream, with some settings changed."""

    @asynccontextmanager
    async def make(**changes: Any) -> AsyncIterator[Running]:
        server_ca = tmp_path / "server-ca.pem"
        server_ca.write_text(api.ca)
        given = {"secret": SECRET, "upstream": api.url, "listen": "127.0.0.1:0", "server_ca": server_ca} | changes
        settings = ProxySettings.model_validate(given)
        registry = CollectorRegistry()
        sessions = Sessions(certificate, settings)
        proxy = Proxy(sessions, settings, ProxyMetrics(registry))
        try:
            await sessions.follow(await asyncio.to_thread(certificate.credential))
            async with Listener(proxy, settings) as listener:
                running = Running(listener, proxy, sessions, registry)
                try:
                    yield running
                finally:
                    for connection in running.opened:
                        connection.close()
        finally:
            await sessions.close()

    return make


@pytest.fixture
async def proxy(proxying: Proxying, first: CertifiedKey) -> AsyncIterator[Running]:
    """A proxy with the settings that it has by itself."""
    async with proxying() as running:
        yield running


def request(method: str = "GET", target: str = "/", *fields: str, body: bytes = b"") -> bytes:
    """A request to the byte; with a body, with its length."""
    length = (f"Content-Length: {len(body)}",) if body or method in ("POST", "PUT") else ()
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: localhost", *length, *fields, "", "")).encode() + body


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def serial_of(issued: CertifiedKey) -> str:
    return serial(issued.certificate)


async def until(condition: Callable[[], object]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)
