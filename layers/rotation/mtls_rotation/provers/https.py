"""A real mTLS request with a certificate that is held in memory only."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtls_rotation.contract.secret import Endpoint

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 10.0


def try_endpoint(endpoint: Endpoint, certificate_chain: str, private_key: str) -> str:
    """Ask the endpoint for its URL with the client certificate, once, on a new connection.

    Args:
        endpoint: where, and which statuses prove acceptance. Redirects are not followed.
        certificate_chain: the leaf and its intermediates, PEM.
        private_key: PKCS#8 PEM.

    Returns:
        Why the endpoint did not accept it, in words that hold no secret; empty if it did.
    """
    import urllib3  # here, because only this step needs it and every cold start would pay for it

    context = client_context(certificate_chain, private_key, endpoint.server_ca)
    timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT)
    with urllib3.PoolManager(ssl_context=context, retries=False, timeout=timeout) as pool:
        try:
            response = pool.request("GET", endpoint.url, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            return f"{type(error).__name__}: {error}"
    if response.status not in endpoint.expected_status:
        return f"HTTP status {response.status}, where {_listed(endpoint.expected_status)} was expected"
    return ""


def client_context(certificate_chain: str, private_key: str, server_ca: str | None) -> ssl.SSLContext:
    """A client context that presents the certificate and verifies the server.

    OpenSSL loads a key from a file only, so the file is an anonymous one in memory: it has no name in any file system
    and is gone when it is closed (memfd_create(2)).
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=server_ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with os.fdopen(os.memfd_create("client-certificate", os.MFD_CLOEXEC), "wb") as file:
        file.write(f"{certificate_chain}\n{private_key}".encode())
        file.flush()
        context.load_cert_chain(Path(f"/proc/self/fd/{file.fileno()}"))
    return context


def _listed(statuses: tuple[int, ...]) -> str:
    return " or ".join(str(status) for status in statuses)
