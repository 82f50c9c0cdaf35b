"""SSL contexts, with the private key handed to OpenSSL in memory."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mtls_client.errors import InvalidSecretError, InvalidServerCaError, UnsupportedPlatformError
from mtls_client.trusted_certificates import certificates_in

if TYPE_CHECKING:
    import ssl

    from mtls_client.credential import Credential


def trusting[C: ssl.SSLContext](kind: type[C], server_ca: str | None) -> C:
    """A client context that verifies the server and its host name, TLS 1.2 or later, with no client certificate yet.

    Args:
        kind: the class of the context.
        server_ca: PEM of the CAs that the server's certificate may chain to; None for the system's.

    Raises:
        InvalidServerCaError: it is no PEM.
    """
    import ssl

    context = kind(ssl.PROTOCOL_TLS_CLIENT)  # which asks for the certificate, and looks at its host names
    # As ssl.create_default_context has it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A server may ask for the certificate once it knows the path (RFC 8446, 4.6.2), if the client has said that it can.
    context.post_handshake_auth = True
    try:
        if server_ca is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            context.load_verify_locations(cadata=certificates_in(server_ca))
    except (ssl.SSLError, ValueError, TypeError) as error:  # TypeError: where it is no text
        raise InvalidServerCaError(
            where="server_ca",
            found=f"text that OpenSSL does not take ({error})",
            expected="certificates in PEM",
            remedy="Hand in the text, not the name of a file.",
        ) from None
    return context


def load(credential: Credential, context: ssl.SSLContext, *, temporary_file: bool = False) -> None:
    """Hand the certificate and its key to OpenSSL.

    It loads a key from a file only, so the file is an anonymous one in memory: it has no name in any file system and is
    gone when it is closed (memfd_create(2)).

    Args:
        credential: what is presented.
        context: what is to present it.
        temporary_file: where there are no files in memory, whether to use one on the disk for that moment, which only
            this user can read.

    Raises:
        InvalidSecretError: OpenSSL does not take the certificate or the key.
        UnsupportedPlatformError: there are no files in memory, and no other is wanted.
    """
    import ssl

    try:
        if hasattr(os, "memfd_create"):
            _load_from_memory(credential, context)
        elif temporary_file:
            _load_from_disk(credential, context)
        else:
            raise _unsupported("no memfd_create")
    except ssl.SSLError as error:
        refusal = error.reason or "for no given reason"
    except OSError as error:
        raise _unsupported(f"a file that fails with '{error.strerror}'") from None
    else:
        return
    raise InvalidSecretError(
        where=credential.where,
        found=f"a certificate or key that OpenSSL does not take ({refusal})",
        expected="keys and signatures that its security level allows",
        remedy="Rotate the secret with another key algorithm.",
    )


def _load_from_memory(credential: Credential, context: ssl.SSLContext) -> None:
    with os.fdopen(os.memfd_create("client-certificate", os.MFD_CLOEXEC), "wb") as file:
        file.write(credential.chain + credential.key)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")


def _load_from_disk(credential: Credential, context: ssl.SSLContext) -> None:
    # mkstemp: mode 0600. The file is closed before it is loaded, as Windows asks, and removed whatever comes of it.
    descriptor, name = tempfile.mkstemp(prefix="client-certificate-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(credential.chain + credential.key)
        context.load_cert_chain(name)
    finally:
        Path(name).unlink()


def _unsupported(found: str) -> UnsupportedPlatformError:
    return UnsupportedPlatformError(
        where="handing the private key to OpenSSL",
        found=found,
        expected="Linux with memfd_create and /proc, so that the key touches no disk",
        remedy="Run it on Linux, or in a container; or allow_temporary_file=True, if a private file on the disk for "
        "that moment is acceptable.",
    )
