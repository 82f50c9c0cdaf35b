"""A partner's API on 127.0.0.1: asks for client certificates, keeps connections alive, and can misbehave."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509

from mtls_rotation.pki.certificates import serial, to_pem
from tests.kit.identity import server_context
from tests.kit.serving import serving

if TYPE_CHECKING:
    from mtls_rotation.pki.certificates import CertifiedKey


@dataclass(frozen=True, slots=True)
class Received:
    """A request that the server has read to its end."""

    serial_number: str
    method: str
    path: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Denial:
    """An answer of status 403."""

    fields: tuple[tuple[str, str], ...]
    body: bytes


# https://repost.aws/knowledge-center/api-gateway-troubleshoot-403-forbidden
BY_API_GATEWAY = Denial(
    (("Content-Type", "application/json"), ("x-amzn-ErrorType", "ForbiddenException")), b'{"message":"Forbidden"}'
)
# What the template's gateway response ACCESS_DENIED says.
BY_THE_AUTHORIZER = Denial(
    (("Content-Type", "application/problem+json"),),
    b'{"type": "urn:mtls-rotation:problem:denied", "title": "Forbidden", "status": 403, '
    b'"detail": "The gateway does not let this caller in.", "instance": "urn:mtls-rotation:request:1"}',
)
BY_ANOTHER = Denial(
    (("Content-Type", "application/problem+json"), ("X-Reason", "not yours")), b'{"type": "about:blank", "status": 403}'
)


class PartnerApi(ThreadingHTTPServer):
    """Answers every request with its own body; `/stream` with two chunks, the second of them after `gate` is set.

    `received` holds the requests, `connections` counts for each certificate those that are open, `handshakes` the
    attempts. With `hang_up` set, connections end in that way when the request has been read. `deny` lets everybody
    connect, and denies what they ask for.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, identity: CertifiedKey, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), BaseHTTPRequestHandler)  # finish_request makes another
        self._identity, self._folder = identity, folder
        self.ca = to_pem(identity.anchor)
        self.url = f"https://127.0.0.1:{self.server_address[1]}"
        self.tls = ssl.TLSVersion.TLSv1_3
        self.hang_up: str | None = None
        self.denial: Denial | None = None
        self.admitted: frozenset[str] = frozenset()
        self.gate = threading.Event()
        self.received: list[Received] = []
        self.changed = threading.Condition()
        self.connections: Counter[str] = Counter()
        self.handshakes = 0
        self.trust()

    def trust(self, *anchors: x509.Certificate, revoked: str = "") -> None:
        """From the next connection on, let in whoever chains to one of these, and nobody else.

        Args:
            anchors: CA certificates.
            revoked: PEM of a revocation list by one of them.
        """
        context = server_context(self._identity)
        context.verify_mode = ssl.CERT_REQUIRED
        context.maximum_version = self.tls
        if anchors:
            context.load_verify_locations(cadata=to_pem(*anchors))
        if revoked:
            path = self._folder / "revoked.pem"
            path.write_text(revoked)
            context.load_verify_locations(path)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        self.context = context

    def deny(self, denial: Denial, *but: CertifiedKey) -> None:
        """From the next request on, answer so to everybody but those."""
        self.denial, self.admitted = denial, frozenset(serial(it.certificate) for it in but)

    def hold_the_verdict(self) -> threading.Event:
        """From the next connection on, look at no client's certificate before this is set."""
        verdict = threading.Event()

        def wait(_: Any, direction: str, _version: Any, _content: Any, message: Any, _data: bytes) -> None:
            if direction == "read" and getattr(message, "name", "") == "CERTIFICATE":
                verdict.wait(10)

        self.context._msg_callback = wait  # type: ignore[attr-defined]
        return verdict

    def count(self, serial_number: str, difference: int) -> None:
        with self.changed:
            self.connections[serial_number] += difference
            self.changed.notify_all()

    def note(self, received: Received) -> None:
        with self.changed:
            self.received.append(received)
            self.changed.notify_all()

    def await_requests(self, serial_number: str, number: int) -> bool:
        """Wait until so many came with that certificate; False if that does not come about."""
        with self.changed:
            return self.changed.wait_for(
                lambda: sum(it.serial_number == serial_number for it in self.received) >= number, timeout=10
            )

    def await_closed(self, serial_number: str) -> bool:
        """Wait until no connection of that certificate is open; False if that does not come about."""
        with self.changed:
            return self.changed.wait_for(lambda: not self.connections[serial_number], timeout=10)

    def finish_request(self, request: Any, client_address: Any) -> None:
        self.handshakes += 1
        if self.hang_up == "reset in the handshake":
            request.recv(1)
            _reset(request)
            return
        try:
            secure = self.context.wrap_socket(request, server_side=True)
        except OSError:
            return  # refused, which the client sees for itself
        with secure:
            peer = serial(x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b""))
            self.count(peer, +1)
            try:
                _Handler(secure, client_address, self, peer)
            except OSError:
                return  # hung up
            finally:
                self.count(peer, -1)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PartnerApi

    def __init__(self, request: ssl.SSLSocket, client_address: Any, server: PartnerApi, peer: str) -> None:
        self._peer = peer
        super().__init__(request, client_address, server)

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size + 2)[:-2]
            self.rfile.readline()
        self.server.note(Received(self._peer, self.command, self.path, body))
        if self.server.hang_up:
            if self.server.hang_up == "reset":
                _reset(self.connection)
            self.close_connection = True
            return
        if self.server.denial is not None and self._peer not in self.server.admitted:
            self._deny(self.server.denial)
            return
        self.send_response(200)
        if self.path == "/stream":
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nfirst\r\n")
            self.server.gate.wait(10)
            self.wfile.write(b"6\r\nsecond\r\n0\r\n\r\n")
        else:
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def _deny(self, denial: Denial) -> None:
        self.send_response(403)
        for name, value in (*denial.fields, ("Content-Length", str(len(denial.body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(denial.body)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - the names that http.server asks for

    def log_message(self, *_: Any) -> None:
        pass


def _reset(connection: socket.socket) -> None:
    """End it with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextmanager
def partner_api(identity: CertifiedKey, folder: Path) -> Iterator[PartnerApi]:
    """One that answers as long as the block runs."""
    with serving(PartnerApi(identity, folder)) as server:
        try:
            yield server
        finally:
            server.gate.set()
