"""Which CA certificates servers are verified with: `ca.crt`, and the proxy's upstream."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable
from pathlib import Path

from mtls_client.trusted_certificates import certificates_in
from mtls_sidecar.errors import ServerCaError

# Where distributions keep the system's bundle, in the order in which Go's crypto/x509 looks for it.
SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, distroless
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, Amazon Linux
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL
    "/etc/ssl/cert.pem",  # Alpine
)


def read(path: Path) -> str:
    """The certificates of a PEM file.

    Raises:
        ServerCaError: it cannot be read, or OpenSSL takes none of it for a certificate.
    """
    where = f"the server's CA in {path}"
    try:
        text = path.read_text("utf-8", "replace")
    except OSError as error:
        found = f"'{error.strerror}'"
    else:
        return checked(text, where)
    raise _unusable(where, found)


def checked(text: str, where: str) -> str:
    """The certificates in a text, in PEM, without what stands between them.

    Args:
        text: whatever was given.
        where: what messages call it.

    Raises:
        ServerCaError: OpenSSL takes none of it for a certificate.
    """
    try:
        certificates = certificates_in(text)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates)
    except (ValueError, TypeError, ssl.SSLError):  # TypeError: where a block is not ASCII
        found = "no certificate in PEM that OpenSSL takes"
    else:
        return certificates
    raise _unusable(where, found)


def _unusable(where: str, found: str) -> ServerCaError:
    return ServerCaError(
        where=where,
        found=found,
        expected="CA certificates in PEM",
        remedy="Name the CA that the server's certificate chains to, or leave it out for the system's CAs.",
    )


def system(candidates: Iterable[str] = SYSTEM_BUNDLES) -> str:
    """The system's CA certificates, in PEM; those that SSL_CERT_FILE names if it is set.

    Raises:
        ServerCaError: there are none.
    """
    named = os.environ.get("SSL_CERT_FILE")
    if named:
        return read(Path(named))
    for candidate in candidates:
        if Path(candidate).is_file():
            return read(Path(candidate))
    raise ServerCaError(
        where="the system's CA certificates",
        found="none of the files in which distributions keep them",
        expected="a bundle of CA certificates",
        remedy="Install the package ca-certificates, set SSL_CERT_FILE, or name the server's CA with --server-ca.",
    )


def bundle(server_ca: Path | None, of_secret: str | None) -> str:
    """The CA certificates to verify the server with, in PEM: those of the file, of the secret, or the system's.

    Args:
        server_ca: a PEM file; it goes before all others.
        of_secret: PEM from the secret's `endpoint.server_ca`.

    Raises:
        ServerCaError: see `read`, `checked` and `system`.
    """
    if server_ca is not None:
        return read(server_ca)
    return checked(of_secret, "the secret's endpoint.server_ca") if of_secret else system()
