"""A partner's API in a process of its own: asks for client certificates, and remembers whose each request was.

    python -m tests.proof.load.partner IDENTITY.pem

prints `{"port": ..., "admin": ...}`. On the admin port, plain HTTP: `PUT /trust` (PEM; from the next connection on, let
in whoever chains to one of these), `GET /received` ({request's name: serial number}). It ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys

from aiohttp import web
from cryptography import x509

from mtls_rotation.pki.certificates import serial


class Partner:
    def __init__(self, identity: str) -> None:
        self._identity = identity
        self.received: dict[str, str] = {}
        self._serials: dict[bytes, str] = {}
        self.trusting = self._context("")

    def _context(self, anchors: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._identity)
        context.verify_mode = ssl.CERT_REQUIRED
        if anchors:
            context.load_verify_locations(cadata=anchors)
        return context

    async def answer(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        der = request.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        if der not in self._serials:
            self._serials[der] = serial(x509.load_der_x509_certificate(der))
        self.received[request.path] = self._serials[der]
        return web.Response(body=await request.read())

    async def trust(self, request: web.Request) -> web.Response:
        # OpenSSL looks the context up when a connection is made: the one that the server was started with.
        self.trusting.load_verify_locations(cadata=await request.text())
        return web.Response()

    async def tell(self, _: web.Request) -> web.Response:
        return web.json_response(self.received)


async def main() -> None:
    partner = Partner(sys.argv[1])
    api, admin = web.Application(), web.Application()
    api.router.add_route("*", "/{path:.*}", partner.answer)
    admin.router.add_put("/trust", partner.trust)
    admin.router.add_get("/received", partner.tell)
    ports = {}
    for name, application, context in (("port", api, partner.trusting), ("admin", admin, None)):
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        ports[name] = runner.addresses[0][1]
    print(json.dumps(ports), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
