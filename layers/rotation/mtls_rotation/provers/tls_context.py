"""A TLS context that presents a client certificate held in memory only."""

import os
import ssl
from pathlib import Path

from mtls_rotation.pki import bundles


def client_context(certificate_chain: str, private_key: str, server_ca: str | None) -> ssl.SSLContext:
    """A client context that presents the certificate and verifies the server.

    OpenSSL loads a key from a file only, so the file is an anonymous one in memory: it has no name in any file system
    and is gone when it is closed (memfd_create(2)).

    Args:
        certificate_chain: the leaf and its intermediates, PEM.
        private_key: PKCS#8 PEM.
        server_ca: PEM of the CAs that may have issued the server's certificate; the system's own when absent.

    Raises:
        ssl.SSLError, ValueError: OpenSSL does not take one of them.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=server_ca and bundles.blocks_in(server_ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.post_handshake_auth = True  # as the client library has it
    with os.fdopen(os.memfd_create("client-certificate", os.MFD_CLOEXEC), "wb") as file:
        file.write(f"{certificate_chain}\n{private_key}".encode())
        file.flush()
        context.load_cert_chain(Path(f"/proc/self/fd/{file.fileno()}"))
    return context
