"""An upstream on loopback that asks for client certificates, notes what it reads to the byte, and answers as told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from cryptography import x509

from mtls_rotation.pki.certificates import CertifiedKey, serial, to_pem
from mtls_sidecar.address import TcpAddress
from tests.kit.identity import server_context

type Fields = list[tuple[str, str]]


@dataclass
class Head:
    """A request's head, and who sent it."""

    serial_number: str
    line: str
    fields: Fields
    body: bytes = b""

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]


type Script = Callable[[Head, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_head(reader: asyncio.StreamReader) -> tuple[str, Fields]:
    """A message's first line, and its fields as they are spelled."""
    line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    return line, [(name, value.strip()) for name, _, value in (it.partition(":") for it in fields)]


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    """One chunk; empty for the last one."""
    size = int(await reader.readuntil(b"\r\n"), 16)
    return (await reader.readexactly(size + 2))[:-2]


async def read_body(fields: Fields, reader: asyncio.StreamReader) -> bytes:
    """A message's body, whichever way its end is told."""
    known = {name.lower(): value for name, value in fields}
    if known.get("transfer-encoding") == "chunked":
        body = b""
        while chunk := await read_chunk(reader):
            body += chunk
        return body
    return await reader.readexactly(int(known.get("content-length", 0)))


def answer(body: bytes = b"", *fields: str, status: str = "200 OK") -> bytes:
    """An answer with its length."""
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def echo(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the request's body."""
    head.body = await read_body(head.fields, reader)
    writer.write(answer(head.body))


def always(data: bytes) -> Script:
    """Answers every request with these bytes."""

    async def script(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head.body = await read_body(head.fields, reader)
        writer.write(data)

    return script


@dataclass
class Upstream:
    """What it has seen, and how it answers."""

    url: str
    ca: str
    context: ssl.SSLContext
    script: Script = echo
    seen: list[Head] = field(default_factory=list)
    connections: int = 0
    closed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def trust(self, *anchors: x509.Certificate) -> None:
        """From the next connection on, let in who chains to one of these as well."""
        self.context.load_verify_locations(cadata=to_pem(*anchors))

    @property
    def serials(self) -> list[str]:
        return [head.serial_number for head in self.seen]

    async def await_closed(self) -> None:
        """Wait until no connection is open."""
        async with self.closed:
            await self.closed.wait_for(lambda: not self.connections)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        peer = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        try:
            while True:
                line, fields = await read_head(reader)
                head = Head(serial(x509.load_der_x509_certificate(peer)), line, fields)
                self.seen.append(head)
                await self.script(head, reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError, ssl.SSLError):
            pass  # the other side has gone
        finally:
            self.connections -= 1
            writer.close()
            with suppress(OSError, ssl.SSLError):
                await writer.wait_closed()
            async with self.closed:
                self.closed.notify_all()


@asynccontextmanager
async def upstream(
    identity: CertifiedKey,
    *anchors: x509.Certificate,
    tls: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    host: str = "127.0.0.1",
) -> AsyncIterator[Upstream]:
    """One that answers as long as the block runs, and lets in who chains to an anchor."""
    context = server_context(identity)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = tls
    serving = Upstream("", to_pem(identity.anchor), context)
    if anchors:
        serving.trust(*anchors)
    server = await asyncio.start_server(serving.serve, host, 0, ssl=context)
    serving.url = f"https://{TcpAddress(host, server.sockets[0].getsockname()[1])}"
    async with server:
        yield serving
        server.close_clients()
