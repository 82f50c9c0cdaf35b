"""Certificates, requests and waiting for the tests of the local AWS."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import os
import socket
import ssl
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from localaws import FrontDoor

type Lines = list[tuple[str, str]]
FORBIDDEN = (403, '{"message":"Forbidden"}')
type Answered = tuple[int, http.client.HTTPMessage, bytes]


def wait_until[T](condition: Callable[[], T], timeout: float = 15.0) -> T:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {timeout} s")
        time.sleep(0.03)
    return answer


@dataclass
class Certificate:
    """A certificate with its key; a CA signs others."""

    certificate: x509.Certificate
    key: Any
    chain: tuple[Certificate, ...] = ()

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        text: bytes = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return text.decode()

    def issue(self, name: str, **options: Any) -> Certificate:
        return make(name, issuer=self, **options)


def make(
    name: str,
    *,
    issuer: Certificate | None = None,
    ca: bool = False,
    key: Any = None,
    starts: timedelta = timedelta(hours=-1),
    ends: timedelta = timedelta(days=1),
    usage: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.CLIENT_AUTH,
    signs: bool = True,
) -> Certificate:
    """Make a certificate; without an issuer it signs itself. One that does not sign says so by its key usage."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + starts)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    signing = (issuer.key if issuer else key).public_key()
    own, issuers = x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier
    builder = builder.add_extension(own.from_public_key(key.public_key()), critical=False)
    builder = builder.add_extension(issuers.from_issuer_public_key(signing), critical=False)
    if not signs:
        builder = builder.add_extension(x509.KeyUsage(True, *[False] * 8), critical=True)
    if usage is not None and not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    signed = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    chain = (issuer, *issuer.chain) if issuer else ()
    return Certificate(signed, key, chain)


def rsa_key(bits: int) -> Any:
    return rsa.generate_private_key(65537, bits)


def signed_with_sha1(certificate: Certificate) -> Certificate:
    """Sign a certificate of an RSA CA anew with SHA-1, which no library here does any more."""
    issuer = certificate.chain[0].key.private_numbers()
    sha256_rsa, sha1_rsa = bytes.fromhex("06092a864886f70d01010b"), bytes.fromhex("06092a864886f70d010105")
    old, size = certificate.certificate, certificate.chain[0].key.key_size // 8
    body = old.tbs_certificate_bytes.replace(sha256_rsa, sha1_rsa)
    digest = bytes.fromhex("3021300906052b0e03021a05000414") + hashlib.sha1(body).digest()  # noqa: S324
    padded = b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest
    signature = pow(int.from_bytes(padded), issuer.d, issuer.public_numbers.n).to_bytes(size)
    whole = old.public_bytes(Encoding.DER).replace(old.tbs_certificate_bytes, body)
    whole = whole.replace(sha256_rsa, sha1_rsa).replace(old.signature, signature)
    return Certificate(x509.load_der_x509_certificate(whole), certificate.key, certificate.chain)


class RefusedError(Exception):
    """The front door ended the connection instead of answering."""


def client_context(door: FrontDoor, client: Certificate | None, version: ssl.TLSVersion | None) -> ssl.SSLContext:
    """Present the client's chain without its root."""
    context = ssl.create_default_context(cadata=door.server_ca_pem)
    if version is not None:
        context.minimum_version = min(version, ssl.TLSVersion.TLSv1_2)
        context.maximum_version = version
    if client is not None:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        memory = os.memfd_create("client")
        sent = [client, *client.chain[:-1]]
        os.write(memory, (client.key_pem + "".join(c.pem for c in sent)).encode())
        context.load_cert_chain(f"/proc/self/fd/{memory}")
        os.close(memory)
    return context


@contextlib.contextmanager
def connected(
    door: FrontDoor, server_name: str | None, client: Certificate | None = None, version: ssl.TLSVersion | None = None
) -> Iterator[http.client.HTTPConnection]:
    """Connect to the front door as ``server_name``; presents the client's chain without its root."""
    context = client_context(door, client, version)
    context.check_hostname = server_name is not None
    raw = socket.create_connection((door.host, door.port), timeout=10)
    connection = http.client.HTTPConnection(server_name or "127.0.0.1")
    try:
        connection.sock = context.wrap_socket(raw, server_hostname=server_name)
        yield connection
    except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected) as error:
        raise RefusedError(str(error)) from error
    finally:
        connection.close()
        raw.close()


def fetch(
    door: FrontDoor,
    server_name: str | None,
    client: Certificate | None = None,
    path: str = "/",
    version: ssl.TLSVersion | None = None,
) -> tuple[int, str]:
    """Send one request on a new connection."""
    with connected(door, server_name, client, version) as connection:
        return ask(connection, path)


def ask(connection: http.client.HTTPConnection, path: str = "/") -> tuple[int, str]:
    """Send one request on an open connection."""
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read().decode()


def send(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
) -> Answered:
    """Send a request exactly as it is given."""
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    if body:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body or None)
    response = connection.getresponse()
    return response.status, response.headers, response.read()


def zipped(source: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", source)
    return buffer.getvalue()
