"""A server that asks for the client's certificate once it has read the request, as some do for a part of their paths.

RFC 8446, 4.6.2: a client has to say in its handshake that it can.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from cryptography import x509

from mtls_rotation.pki.certificates import serial, to_pem
from tests.kit.identity import server_context
from tests.kit.serving import serving

if TYPE_CHECKING:
    from mtls_rotation.pki.certificates import CertifiedKey


class PostHandshakeServer(ThreadingHTTPServer):
    """Answers 200 to whom it knows, and 403 to everybody else. `received` has the serial numbers that it saw."""

    daemon_threads = True

    def __init__(self, identity: CertifiedKey, client_ca: x509.Certificate) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"https://127.0.0.1:{self.server_address[1]}"
        self.received: list[str] = []
        context = server_context(identity)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.post_handshake_auth = True
        context.load_verify_locations(cadata=to_pem(client_ca))
        self.socket = context.wrap_socket(self.socket, server_side=True)


class _Handler(BaseHTTPRequestHandler):
    server: PostHandshakeServer
    connection: ssl.SSLSocket

    def do_GET(self) -> None:
        certificate = self._client_certificate()
        if certificate:
            self.server.received.append(serial(x509.load_der_x509_certificate(certificate)))
        self.send_response(200 if certificate else 403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _client_certificate(self) -> bytes | None:
        try:
            self.connection.verify_client_post_handshake()
        except ssl.SSLError:
            return None  # it has not said that it can
        # What asks for the certificate goes out with the next bytes, and the certificate comes in with the next.
        self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.connection.settimeout(0.01)
        for _ in range(500):
            try:
                self.connection.recv(1)
            except TimeoutError:
                if certificate := self.connection.getpeercert(binary_form=True):
                    self.connection.settimeout(None)
                    return certificate
        return None

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def post_handshake_server(identity: CertifiedKey, client_ca: x509.Certificate) -> Iterator[PostHandshakeServer]:
    """One that answers as long as the block runs."""
    with serving(PostHandshakeServer(identity, client_ca)) as server:
        yield server
