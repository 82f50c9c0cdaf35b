"""Servers on 127.0.0.1: one that asks for client certificates, which testSecret is held against, and plain ones."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import NameOID

from mtls_rotation.pki.certificates import to_pem
from tests.kit.identity import server_context

if TYPE_CHECKING:
    from mtls_rotation.pki.certificates import CertifiedKey


class MutualTlsServer(socketserver.ThreadingTCPServer):
    """Answers GET with `status`; accepts clients whose certificate chains to an anchor it was told to trust.

    `clients` holds the common name of everyone it let in.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, identity: CertifiedKey) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._identity = identity
        self.ca = to_pem(identity.anchor)
        self.context = self._context(())
        self.status = 200
        self.clients: list[str] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://127.0.0.1:{self.server_address[1]}/"

    def trust(self, *anchors: x509.Certificate) -> None:
        """From the next connection on, let in whoever chains to one of these, and nobody else."""
        self.context = self._context(anchors)

    def reset(self) -> None:
        """Trust nobody and forget who came."""
        self.trust()
        self.status = 200
        self.clients.clear()

    def close(self) -> None:
        """End it."""
        self.shutdown()
        self.server_close()
        self._thread.join()

    def _context(self, anchors: tuple[x509.Certificate, ...]) -> ssl.SSLContext:
        context = server_context(self._identity)
        context.verify_mode = ssl.CERT_REQUIRED
        if anchors:
            context.load_verify_locations(cadata=to_pem(*anchors))
        return context


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, MutualTlsServer)
        plain: socket.socket = self.request
        plain.settimeout(5)
        try:
            with self.server.context.wrap_socket(plain, server_side=True) as secure:
                request = b""
                while b"\r\n\r\n" not in request and (data := secure.recv(4096)):
                    request += data
                peer = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")
                names = peer.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
                self.server.clients.append(str(names[0].value))
                status = f"HTTP/1.1 {self.server.status} -\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                secure.sendall(status.encode())
        except OSError:
            return  # refused, which the client sees for itself
