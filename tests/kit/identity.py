"""Has a server of the tests present a certificate. Its key goes to OpenSSL by memory: no test leaves one on a disk."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mtls_rotation.pki.certificates import key_to_pem, to_pem

if TYPE_CHECKING:
    from mtls_rotation.pki.certificates import CertifiedKey


def server_context(identity: CertifiedKey) -> ssl.SSLContext:
    """A server's context that presents a certificate and asks for nothing yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with in_memory(identity) as file:
        context.load_cert_chain(f"/proc/self/fd/{file}")
    return context


@contextmanager
def in_memory(identity: CertifiedKey) -> Iterator[int]:
    """A file in memory with certificate and key, as long as the block runs; a child may inherit it."""
    file = os.memfd_create("identity")
    try:
        os.write(file, (to_pem(identity.certificate) + key_to_pem(identity.key)).encode())
        yield file
    finally:
        os.close(file)
