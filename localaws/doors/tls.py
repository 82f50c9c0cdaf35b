"""TLS as API Gateway ends it: the handshake is completed with whatever certificate a client has, and judged apart.

Python's ``ssl`` refuses a certificate in the handshake and has no callback to prevent it. pyOpenSSL has one; what it
lacks is asyncio's part: here is a session that asyncio takes for an ``ssl.SSLContext`` and its ``ssl.SSLObject``.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL, crypto

type Judge = Callable[[Sequence[x509.Certificate]], str | None]

_CHUNK = 65_536
# The words of API Gateway's execution logs, by OpenSSL's codes (X509_STORE_CTX_get_error(3SSL)):
# https://repost.aws/knowledge-center/api-gateway-mutual-tls-403-errors
_REASONS = {
    2: "Could not find issuer for certificate",
    18: "self signed certificate",
    19: "Could not find issuer for certificate",
    20: "Could not find issuer for certificate",
    21: "Could not find issuer for certificate",
    26: "the certificate is not for clients",
    9: "the certificate is not yet valid",
    10: "the certificate has expired",
}
_NO_CERTIFICATE = "peer did not return a certificate"
logger = logging.getLogger("localaws.doors.tls")


class ServerContext:
    """What the connections to one domain have in common.

    Args:
        server: the certificate that is shown to clients, and its key.
        anchors: what client certificates are verified with; None where clients are not asked for one.
        judge: why a chain that OpenSSL has verified is refused all the same; leaf first, anchor last.
        by_alert: whether a certificate is refused in the handshake.
    """

    def __init__(
        self,
        server: tuple[x509.Certificate, ec.EllipticCurvePrivateKey],
        anchors: Sequence[x509.Certificate] | None,
        judge: Judge,
        *,
        by_alert: bool,
    ) -> None:
        self.judge, self.by_alert = judge, by_alert
        self.openssl = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.openssl.set_min_proto_version(SSL.TLS1_2_VERSION)
        self.openssl.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
        self.openssl.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # every new connection is verified in full
        self.openssl.set_cipher_list(b"DEFAULT:@SECLEVEL=0")  # weak signatures are for the judge
        self.openssl.set_alpn_select_callback(_select_protocol)
        certificate, key = server
        self.openssl.use_certificate(certificate)
        self.openssl.use_privatekey(key)
        if anchors is not None:
            store = self.openssl.get_cert_store()
            if store is None:
                raise ssl.SSLError("a context without a store")
            store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)  # up to which anchor is for the judge
            for anchor in anchors:
                store.add_cert(crypto.X509.from_cryptography(anchor))
            self.openssl.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _on_certificate)


class ServerSession:
    """TLS on one connection.

    Attributes:
        client: the certificate that the client has presented, if it was asked for one.
        refusal: why it is refused; None if it is not.
    """

    def __init__(self, context: ServerContext, connection: socket.socket) -> None:
        self._context = context
        self._socket = connection
        self._openssl = SSL.Connection(context.openssl, None)
        self._openssl.set_app_data(self)
        self._openssl.set_accept_state()
        self._chain: dict[int, x509.Certificate] = {}
        self.refusal: str | None = None

    @property
    def client(self) -> x509.Certificate | None:
        """The client's own certificate."""
        return self._chain.get(0)

    def judge(self, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
        """Hear from OpenSSL about one certificate of the chain, the leaf last; whether the handshake goes on."""
        try:
            self._chain[depth] = certificate.to_cryptography()
            if not ok:
                self._refuse(_REASONS.get(error, f"OpenSSL's verification error {error}"))
            elif depth == 0 and self.refusal is None:
                reason = self._context.judge([self._chain[level] for level in sorted(self._chain)])
                self._refuse(reason)
        except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as unreadable:
            self._refuse(f"the certificate cannot be read: {unreadable}")
        return self.refusal is None or not self._context.by_alert

    def _refuse(self, reason: str | None) -> None:
        self.refusal = self.refusal or reason

    # -- what asyncio asks of a context and of its object

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, **_: Any) -> ServerSession:
        """As `ssl.SSLContext.wrap_bio`."""
        self._incoming, self._outgoing = incoming, outgoing
        return self

    def do_handshake(self) -> None:
        """As `ssl.SSLObject.do_handshake`."""
        try:
            self._run(self._openssl.do_handshake)
        except ssl.SSLWantReadError:
            raise
        except ssl.SSLError as error:
            self._end(error)
            raise
        self._openssl.set_app_data(None)  # which would keep both alive

    def read(self, size: int = _CHUNK, buffer: memoryview | None = None) -> bytes | int:
        """As `ssl.SSLObject.read`."""
        try:
            if buffer is not None:
                return int(self._run(lambda: self._openssl.recv_into(buffer, size)))
            return bytes(self._run(lambda: self._openssl.recv(size)))
        except ssl.SSLZeroReturnError:
            return 0 if buffer is not None else b""

    def write(self, data: bytes) -> int:
        """As `ssl.SSLObject.write`."""
        return int(self._run(lambda: self._openssl.send(data)))

    def unwrap(self) -> None:
        """As `ssl.SSLObject.unwrap`: the first call tells the client, and is done when it has told us."""
        if not self._run(self._openssl.shutdown):
            self._run(self._openssl.shutdown)

    def pending(self) -> int:
        """As `ssl.SSLObject.pending`."""
        return self._openssl.pending()

    def getpeercert(self) -> dict[str, Any]:
        """As `ssl.SSLObject.getpeercert`; nobody here asks by this way."""
        return {}

    def cipher(self) -> tuple[str, str, int] | None:
        """As `ssl.SSLObject.cipher`."""
        name, version, bits = (
            self._openssl.get_cipher_name(),
            self._openssl.get_cipher_version(),
            self._openssl.get_cipher_bits(),
        )
        return (name, version, bits) if name and version and bits else None

    def compression(self) -> None:
        """As `ssl.SSLObject.compression`."""

    def _run[T](self, act: Callable[[], T]) -> T:
        """Do something with what has come in, and hand on what it has to say."""
        if received := self._incoming.read():
            self._openssl.bio_write(received)
        try:
            return act()
        except SSL.WantReadError:
            if self._incoming.eof:
                raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the client went away") from None
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "more is to come") from None
        except SSL.ZeroReturnError:
            raise ssl.SSLZeroReturnError(ssl.SSL_ERROR_ZERO_RETURN, "the client has ended TLS") from None
        except SSL.Error as error:
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, _words(error)) from None
        finally:
            self._outgoing.write(self._said())

    def _said(self) -> bytes:
        said = bytearray()
        with contextlib.suppress(SSL.WantReadError):
            while True:
                said += self._openssl.bio_read(_CHUNK)
        return bytes(said)

    def _end(self, error: ssl.SSLError) -> None:
        """Tell the client why the handshake fails, which asyncio does not.

        API Gateway resets the connection of a client that has no certificate, without a word.
        """
        with contextlib.suppress(OSError):
            if self._context.by_alert or _NO_CERTIFICATE not in str(error):
                self._socket.send(self._outgoing.read())
            else:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _on_certificate(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    session: ServerSession = connection.get_app_data()
    return session.judge(certificate, error, depth, ok)


def _select_protocol(_: SSL.Connection, offered: list[bytes]) -> Any:
    return b"http/1.1" if b"http/1.1" in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def _words(error: SSL.Error) -> str:
    if error.args and isinstance(error.args[0], list):
        return "; ".join(reason for _, _, reason in error.args[0])
    return ": ".join(map(str, error.args)) or type(error).__name__
