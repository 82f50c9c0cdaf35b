"""Servers that redirect to each other, and note what each request brings along. A certificate is not needed there."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from cryptography import x509

from mtls_rotation.pki.certificates import serial, to_pem
from tests.kit import builders
from tests.kit.identity import server_context
from tests.kit.serving import serving

if TYPE_CHECKING:
    from mtls_rotation.pki.certificates import CertifiedKey


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, with the client certificate's serial number; empty if there was none."""

    serial_number: str
    method: str
    path: str
    body: bytes


class Origin(ThreadingHTTPServer):
    """Answers 200, or with what `redirects` has for the path: a status and a location."""

    daemon_threads = True

    def __init__(self, ca: CertifiedKey | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Asked] = []
        self.redirects: dict[str, tuple[int, str]] = {}
        self.url = f"{'https' if ca else 'http'}://127.0.0.1:{self.server_address[1]}"
        if ca:
            context = server_context(builders.server_certificate(ca))
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(cadata=to_pem(ca.certificate))
            # Where the handshake is made in the handler's thread, no client holds up another.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Origin

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        peer = self.connection.getpeercert(binary_form=True) if isinstance(self.connection, ssl.SSLSocket) else None
        number = serial(x509.load_der_x509_certificate(peer)) if peer else ""
        self.server.asked.append(Asked(number, self.command, self.path, body))
        status, location = self.server.redirects.get(self.path, (200, ""))
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - the names that http.server asks for

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def origins(ca: CertifiedKey, number: int) -> Iterator[tuple[Origin, ...]]:
    """So many of https, and one of http at the end."""
    with ExitStack() as stack:
        yield tuple(stack.enter_context(serving(Origin(it))) for it in (*[ca] * number, None))
