"""A socket for event loops that leaves it to the reading side to tell that the connection is gone."""

from __future__ import annotations

import socket
from typing import Any, Self


class PatientSocket(socket.socket):
    """Takes for sent what cannot be sent any more.

    A server that refuses a certificate says so, and hangs up. asyncio gives a connection up as soon as something cannot
    be written to it, before it has read why; TCP promises nothing of what was written anyhow.
    """

    @classmethod
    def for_address(cls, address: Any) -> Self:
        """For one of what `socket.getaddrinfo` returns."""
        return cls(*address[:3])

    def send(self, data: Any, *args: Any, **options: Any) -> int:
        """As `socket.socket.send`."""
        try:
            return super().send(data, *args, **options)
        except (BrokenPipeError, ConnectionResetError):
            return len(data)
