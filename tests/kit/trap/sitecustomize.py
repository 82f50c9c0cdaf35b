"""Keeps a Python process on this machine, and writes what it wanted elsewhere to NETWORK_TRAP: for PYTHONPATH.

Whatever asks a proxy for another host is written down too: that it wanted to go there is what counts. Names under
`example` are nobody's (RFC 2606): they are not found, and that is all.
"""

import os
import socket
import sys
from typing import Any

HERE = {"", "localhost", "127.0.0.1", "::1"}
PROXY = 9


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1]
        host, port = address[:2] if isinstance(address, tuple) else ("", 0)
    elif event == "socket.getaddrinfo":
        host, port = arguments[:2]
    else:
        return
    named = host.decode() if isinstance(host, bytes) else host or ""
    if named in HERE and port != PROXY:
        return
    if named.endswith(".example"):
        raise socket.gaierror(socket.EAI_NONAME, f"{named} is nobody's")
    with open(os.environ["NETWORK_TRAP"], "a") as trap:  # noqa: PTH123 - pathlib is not imported for it at each start
        trap.write(f"{named}:{port} by {sys.argv}\n")
    raise ConnectionRefusedError(f"the trap has {named}:{port}")


if "NETWORK_TRAP" in os.environ:
    sys.addaudithook(_watch)
