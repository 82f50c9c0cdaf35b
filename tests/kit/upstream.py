"""A partner's API: a TLS server on 127.0.0.1 that asks for client certificates and keeps what it is sent."""

from __future__ import annotations

import socketserver
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cryptography import x509

from mtls_rotation.pki.certificates import serial, to_pem
from tests.kit.identity import server_context
from tests.kit.serving import serving

if TYPE_CHECKING:
    from mtls_rotation.pki.certificates import CertifiedKey


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came, and by whose certificate.

    Attributes:
        line: the request line.
        headers: names in lower case, in order.
    """

    serial_number: str
    line: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    @property
    def method(self) -> str:
        return self.line.split(" ")[0]

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for header, value in self.headers if header == name]


type Answering = Callable[[Received], bytes]


def answer(
    status: str = "200 OK", *headers: tuple[str, str], body: bytes = b"", length: bool = True
) -> Callable[[Received], bytes]:
    """Answers every request likewise, to the byte."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return lambda _: "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Upstream(socketserver.ThreadingTCPServer):
    """The server. `answering` makes each answer; `received` holds what came; `refused` counts failed handshakes.

    `streaming` makes an answer in pieces, which may have no end: it goes on until the client has gone.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, identity: CertifiedKey) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self._identity = identity
        self.ca = to_pem(identity.anchor)
        self.tls = ssl.TLSVersion.TLSv1_3
        self.reset()

    def reset(self) -> None:
        """As it was in the beginning: trusts nobody, has heard nothing, and answers 200."""
        self.received: list[Received] = []
        self.answering: Answering = answer(body=b"hello")
        self.streaming: Callable[[Received], Iterable[bytes]] | None = None
        self.connections = 0
        self.refused: list[str] = []
        self.trust()

    @property
    def url(self) -> str:
        """Its origin."""
        return f"https://127.0.0.1:{self.server_address[1]}"

    def trust(self, *anchors: x509.Certificate) -> None:
        """From the next connection on, let in whoever chains to one of these, and nobody else."""
        context = server_context(self._identity)
        context.verify_mode = ssl.CERT_REQUIRED
        context.maximum_version = self.tls
        if anchors:
            context.load_verify_locations(cadata=to_pem(*anchors))
        self.context = context


class _Connection(socketserver.BaseRequestHandler):
    server: Upstream

    def handle(self) -> None:
        self.server.connections += 1
        try:
            with self.server.context.wrap_socket(self.request, server_side=True) as secure:
                peer = serial(x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b""))
                stream = secure.makefile("rwb")
                while (request := _read(stream, peer)) is not None:
                    self.server.received.append(request)
                    if self.server.streaming:
                        for piece in self.server.streaming(request):
                            secure.sendall(piece)
                        return
                    raw = self.server.answering(request)
                    stream.write(raw)
                    stream.flush()
                    if not raw or b"connection: close" in raw.lower():
                        return
        except ssl.SSLError as error:
            self.server.refused.append(str(error))
        except OSError:
            return  # the client has gone


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def readline(self) -> bytes: ...


def _read(stream: _Readable, peer: str) -> Received | None:
    line = stream.readline().decode("latin-1").rstrip("\r\n")
    if not line:
        return None
    headers = []
    while header := stream.readline().decode("latin-1").rstrip("\r\n"):
        name, _, value = header.partition(":")
        headers.append((name.lower(), value.strip()))
    length = next((int(value) for name, value in headers if name == "content-length"), 0)
    return Received(peer, line, tuple(headers), stream.read(length))


@contextmanager
def upstream(identity: CertifiedKey) -> Iterator[Upstream]:
    """One that answers as long as the block runs."""
    with serving(Upstream(identity)) as server:
        yield server
