"""The command as it is installed: a process of its own, told to end by a signal."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from mtls_rotation.pki.certificates import CertifiedKey, key_to_pem
from tests.kit import builders
from tests.unit.client.secrets_manager import SECRET, SecretsManager, throttled, value_of
from tests.unit.sidecar.conftest import serial_of, until
from tests.unit.sidecar.endpoint import endpoint
from tests.unit.sidecar.test_atomic_directory import shm
from tests.unit.sidecar.upstream import Head, Upstream, read_body

__all__ = ["shm"]

pytestmark = pytest.mark.anyio

COMMAND = Path(sys.executable).with_name("mtls-sidecar")


@pytest.fixture
def aws(secrets: SecretsManager) -> Iterator[dict[str, str]]:
    with endpoint(secrets) as environment:
        yield environment


@dataclass
class Process:
    process: asyncio.subprocess.Process
    log: list[dict[str, str]] = field(default_factory=list)

    async def follow(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.log.append(json.loads(line))

    async def said(self, pattern: str) -> str:
        """Wait until a line of the log matches, and give its first group."""
        compiled = re.compile(pattern)
        await until(lambda: any(compiled.search(line["message"]) for line in self.log))
        return next(found[1] for line in self.log if (found := compiled.search(line["message"])))


@asynccontextmanager
async def started(environment: dict[str, str], *arguments: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        COMMAND, *arguments, env=os.environ | environment, stderr=asyncio.subprocess.PIPE
    )
    running = Process(process)
    following = asyncio.ensure_future(running.follow())
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await following


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answered:
        return answered.status, await answered.text()


async def test_the_proxy_sees_its_requests_through_when_it_is_told_to_end(
    aws: dict[str, str], secrets: SecretsManager, first: CertifiedKey, ca: CertifiedKey, api: Upstream, tmp_path: Path
) -> None:
    async def script(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = await read_body(head.fields, reader)
        await asyncio.sleep(0.05)
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    api.script = script
    server_ca = tmp_path / "ca.pem"
    server_ca.write_text(api.ca)
    flags = ("--upstream", api.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--server-ca", str(server_ca))
    async with started(aws, "proxy", SECRET, *flags, "--check-every", "0.2") as sidecar:
        admin = "http://" + await sidecar.said(r"metrics on (\S+)\.$")
        url = "http://" + await sidecar.said(r"Plain HTTP on (\S+) goes")
        await sidecar.said("(Certificate) .* in use")
        complete, refused, broken = 0, 0, list[str]()

        async def client(number: int) -> None:
            nonlocal complete, refused
            async with aiohttp.ClientSession() as session:
                session._retry_connection = False
                while True:
                    body = f"{number}".encode() * 1000
                    try:
                        async with session.post(url, data=body) as answered:
                            status, received = answered.status, await answered.read()
                    except (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                        refused += 1  # nothing of an answer has come: it was not accepted any more
                        return
                    except aiohttp.ClientPayloadError as error:
                        broken.append(repr(error))
                        return
                    if (status, received) != (200, body):
                        broken.append(f"{status} {received[:200]!r}")
                    complete += 1

        clients = [asyncio.ensure_future(client(number)) for number in range(8)]
        await until(lambda: complete > 50)
        second = builders.leaf(ca)
        secrets.rotate(value_of(second))
        await until(lambda: serial_of(second) in api.serials)
        status, metrics = await get(f"{admin}/metrics")
        assert status == 200
        assert f'mtls_certificate_info{{serial_number="{serial_of(second)}"' in metrics
        assert re.search(r'mtls_proxy_requests_total\{method="POST",status_class="2xx"\} [0-9.]+', metrics)
        assert await get(f"{admin}/readyz") == (200, "ok\n")
        before = complete
        sidecar.process.send_signal(signal.SIGTERM)
        assert await sidecar.process.wait() == 0
        await asyncio.gather(*clients)
    assert not broken
    assert complete > before  # those that were under way
    assert refused == len(clients)
    assert key_to_pem(first.key).splitlines()[1] not in json.dumps(sidecar.log)


async def test_the_proxy_is_not_ready_before_there_is_a_certificate(
    aws: dict[str, str], secrets: SecretsManager, first: CertifiedKey, api: Upstream
) -> None:
    secrets.failing = throttled()
    flags = ("--upstream", api.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    async with started(aws, "proxy", SECRET, *flags) as sidecar:
        admin = "http://" + await sidecar.said(r"metrics on (\S+)\.$")
        url = "http://" + await sidecar.said(r"Plain HTTP on (\S+) goes")
        assert await get(f"{admin}/healthz") == (200, "ok\n")
        assert await get(f"{admin}/readyz") == (503, "not ready: there is no certificate yet\n")
        status, body = await get(url)
        assert (status, json.loads(body)["code"]) == (503, "no_valid_certificate")
        sidecar.process.send_signal(signal.SIGINT)
        assert await sidecar.process.wait() == 0


async def test_the_files_are_kept_until_it_is_told_to_end(
    aws: dict[str, str], secrets: SecretsManager, first: CertifiedKey, ca: CertifiedKey, shm: Path, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    flags = (
        "--directory",
        str(shm / "tls"),
        "--check-every",
        "0.2",
        "--admin",
        "127.0.0.1:0",
        "--run",
        f"touch {told}",
    )
    async with started(aws, "files", SECRET, *flags) as sidecar:
        admin = "http://" + await sidecar.said(r"metrics on (\S+)\.$")
        await sidecar.said(r"(is) in " + str(shm / "tls"))
        assert await get(f"{admin}/readyz") == (200, "ok\n")
        assert not told.exists()
        secrets.rotate(value_of(builders.leaf(ca)))
        await until(told.exists)
        _, metrics = await get(f"{admin}/metrics")
        assert 'mtls_files_writes_total{result="success"} 2.0' in metrics
        assert "mtls_certificate_changes_total 2.0" in metrics
        sidecar.process.send_signal(signal.SIGTERM)
        assert await sidecar.process.wait() == 0
    assert (shm / "tls" / "tls.key").exists()


async def test_once_ends_when_the_files_are_there(aws: dict[str, str], first: CertifiedKey, shm: Path) -> None:
    async with started(aws, "files", SECRET, "--directory", str(shm), "--once") as sidecar:
        assert await sidecar.process.wait() == 0
    assert (shm / "tls.crt").exists()
