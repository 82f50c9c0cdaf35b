"""SSL contexts, with the private key handed to OpenSSL in memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mtls_client.errors import InvalidSecretError, InvalidServerCaError, UnsupportedPlatformError

if TYPE_CHECKING:
    import ssl

    from mtls_client.credential import Credential


def trusting(server_ca: str | None) -> ssl.SSLContext:
    """A client context that verifies the server and its host name, TLS 1.2 or later, with no client certificate yet.

    Args:
        server_ca: PEM of the CAs that the server's certificate may hang on; None for the system's.

    Raises:
        InvalidServerCaError: it is no PEM.
    """
    import ssl

    try:
        if server_ca == "":
            raise ValueError("it is empty")  # which ssl would take for the system's
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=server_ca)
    except (ssl.SSLError, ValueError) as error:
        raise InvalidServerCaError(
            where="server_ca",
            found=f"text that OpenSSL does not take ({error})",
            expected="certificates in PEM",
            remedy="Hand in the text, not the name of a file.",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def presenting(credential: Credential, server_ca: str | None) -> ssl.SSLContext:
    """A client context that presents the certificate. See `trusting` and `load`."""
    context = trusting(server_ca)
    load(credential, context)
    return context


def load(credential: Credential, context: ssl.SSLContext) -> None:
    """Hand the certificate and its key to OpenSSL.

    It loads a key from a file only, so the file is an anonymous one in memory: it has no name in any file system and is
    gone when it is closed (memfd_create(2)).

    Raises:
        InvalidSecretError: OpenSSL does not take the certificate or the key.
        UnsupportedPlatformError: there are no files in memory.
    """
    import ssl

    if not hasattr(os, "memfd_create"):
        raise _unsupported("no memfd_create")
    try:
        with os.fdopen(os.memfd_create("client-certificate", os.MFD_CLOEXEC), "wb") as file:
            file.write(credential.chain + credential.key)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    except ssl.SSLError as error:
        refusal = error.reason or "for no given reason"
    except OSError as error:
        raise _unsupported(f"a file in memory that fails with '{error.strerror}'") from None
    else:
        return
    raise InvalidSecretError(
        where=credential.where,
        found=f"a certificate or key that OpenSSL does not take ({refusal})",
        expected="keys and signatures that its security level allows",
        remedy="Rotate the secret with another key algorithm.",
    )


def _unsupported(found: str) -> UnsupportedPlatformError:
    return UnsupportedPlatformError(
        where="handing the private key to OpenSSL",
        found=found,
        expected="Linux with memfd_create and /proc, so that the key touches no disk",
        remedy="Run it on Linux, or in a container.",
    )
