"""Reading the server name out of a TLS ClientHello. Pure.

Why not OpenSSL's server-name callback: switching the context there changes the certificate but not whether and
how the client is verified, which belongs to the connection from its first moment. So the name is read first, and
the connection then gets the context of its domain.
"""

from __future__ import annotations

_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME = 22, 1, 0
_RECORD_HEADER = 5


class NotTlsError(ValueError):
    """The bytes do not begin a TLS handshake."""


def is_complete(data: bytes) -> bool:
    """Whether ``data`` holds a whole ClientHello."""
    hello = _handshake_bytes(data)
    return len(hello) >= 4 and len(hello) >= 4 + int.from_bytes(hello[1:4])


def server_name(data: bytes) -> str | None:
    """Return the host name that a complete ClientHello asks for, in lower case."""
    hello = _handshake_bytes(data)
    body = hello[4 : 4 + int.from_bytes(hello[1:4])]
    at = 34  # protocol version and random
    at += 1 + body[at]  # session id
    at += 2 + int.from_bytes(body[at : at + 2])  # cipher suites
    at += 1 + body[at]  # compression methods
    end = at + 2 + int.from_bytes(body[at : at + 2])
    at += 2
    while at + 4 <= min(end, len(body)):
        kind, size = int.from_bytes(body[at : at + 2]), int.from_bytes(body[at + 2 : at + 4])
        extension = body[at + 4 : at + 4 + size]
        if kind == _SERVER_NAME and len(extension) > 5:
            length = int.from_bytes(extension[3:5])
            return extension[5 : 5 + length].decode("ascii", errors="replace").lower()
        at += 4 + size
    return None


def _handshake_bytes(data: bytes) -> bytes:
    """Return the handshake bytes of all whole records, which a long ClientHello may be spread over."""
    found, at = b"", 0
    while len(data) >= at + _RECORD_HEADER:
        if data[at] != _HANDSHAKE:
            raise NotTlsError("not a TLS handshake")
        size = int.from_bytes(data[at + 3 : at + 5])
        if len(data) < at + _RECORD_HEADER + size:
            break
        found += data[at + _RECORD_HEADER : at + _RECORD_HEADER + size]
        at += _RECORD_HEADER + size
    if found and found[0] != _CLIENT_HELLO:
        raise NotTlsError("not a ClientHello")
    return found
