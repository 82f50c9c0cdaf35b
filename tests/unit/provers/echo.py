"""A prover that nobody has heard of yet: it says a word over TLS, and hears it again. And a server to say it to."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mtls_rotation.contract.endpoint import EndpointSettings
from mtls_rotation.pki.certificates import to_pem
from mtls_rotation.provers.api import Answer, Identity, Proof
from mtls_rotation.provers.handshake import Protocol, prove_by
from tests.kit.identity import server_context

if TYPE_CHECKING:
    from mtls_rotation.pki.certificates import CertifiedKey
    from mtls_rotation.timing import Deadline

START = b"START\n"


class EchoSettings(EndpointSettings):
    """What it is told: the word."""

    word: str


class EchoProver:
    """Asks for TLS in the clear, as a database does, and then says the word."""

    Settings = EchoSettings

    def prove(self, settings: EchoSettings, identity: Identity, deadline: Deadline) -> Proof:
        """See `Prover.prove`."""

        def say(secure: ssl.SSLSocket) -> Answer:
            secure.sendall(settings.word.encode())
            heard = secure.recv(100).decode()
            return Answer(f"the word {heard}", "" if heard == settings.word else f"the word {heard} came back")

        return prove_by(Protocol(7, say, lambda it: it.sendall(START)), settings, identity, deadline)


PROVER = EchoProver()


@dataclass
class EchoServer:
    """Where it listens, and the first words that it heard in the clear."""

    url: str
    begun: list[bytes] = field(default_factory=list)


@contextmanager
def echo_server(identity: CertifiedKey, trusted: CertifiedKey) -> Iterator[EchoServer]:
    """A server that says again what a client says whose certificate chains to `trusted`."""
    context = server_context(identity)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=to_pem(trusted.certificate))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = EchoServer(f"echo://127.0.0.1:{listener.getsockname()[1]}")

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return  # it was shut down
                connection.settimeout(5)
                with connection, suppress(OSError):  # it refuses, which the client sees for itself
                    server.begun.append(connection.recv(len(START)))
                    with context.wrap_socket(connection, server_side=True) as secure:
                        secure.sendall(secure.recv(100))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
