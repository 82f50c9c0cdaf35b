"""A partner's API for the examples: asks for client certificates, and has one order."""

from __future__ import annotations

import contextlib
import json
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509

from mtls_rotation.pki.certificates import CertifiedKey, serial, to_pem
from tests.kit import builders
from tests.kit.identity import server_context

HOST = "api.partner.example"
ORDERS = {"orders": [{"id": 1}]}


class Partner(ThreadingHTTPServer):
    """Listens on 127.0.0.1, and is `HOST`.

    `asked_by` has the serial number of each client's certificate, `paths` what was asked for. `server_ca` is a file
    with the CA that its own certificate chains to.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        ca = builders.root("Server CA")
        names: Any = {"dns_names": [HOST], "ip_addresses": ["127.0.0.1"], "extended_key_usages": ["serverAuth"]}
        identity = builders.leaf(ca, **names)
        self.server_ca = folder / "server-ca.pem"
        self.server_ca.write_text(to_pem(ca.certificate))
        self._identity = identity
        self.asked_by: list[str] = []
        self.paths: list[str] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def trust(self, anchor: CertifiedKey) -> None:
        """From the next connection on, let in the clients of this CA and no others."""
        self.context = server_context(self._identity)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.load_verify_locations(cadata=to_pem(anchor.certificate))

    def finish_request(self, request: Any, client_address: Any) -> None:
        with contextlib.suppress(OSError), self.context.wrap_socket(request, server_side=True) as secure:
            peer = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")
            self.asked_by.append(serial(peer))
            _Handler(secure, client_address, self)


class _Handler(BaseHTTPRequestHandler):
    server: Partner

    def do_GET(self) -> None:
        body = json.dumps(ORDERS).encode()
        self.server.paths.append(self.path)
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass
