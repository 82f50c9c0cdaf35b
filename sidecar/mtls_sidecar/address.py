"""Where a listener listens: a TCP address or a Unix socket. Reads such an address, and binds it."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from mtls_sidecar.errors import ListenError
from mtls_sidecar.trusted_path import Trust, UntrustedPathError, open_directory

UNIX = "unix:"
# sockaddr_un.sun_path of Linux, with the byte that ends it.
_LONGEST_PATH = 107
_MOST_DIGITS = 5


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """An IP address with a port; port 0 is one that the kernel chooses."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine, or in this pod, can reach it."""
        return ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A Unix socket."""

    path: Path

    @property
    def is_loopback(self) -> bool:
        """See `TcpAddress`. File permissions say who may connect."""
        return True

    def __str__(self) -> str:
        return f"{UNIX}{self.path}"


type Address = TcpAddress | UnixAddress


def parse(text: str) -> Address:
    """Read `HOST:PORT`, with an IP address or `localhost` for the host, or `unix:PATH`.

    Raises:
        ValueError: it is neither; the message says what was expected.
    """
    if text.startswith(UNIX):
        path = Path(text.removeprefix(UNIX))
        if not path.is_absolute() or "\0" in text or len(os.fsencode(path)) > _LONGEST_PATH:
            raise ValueError(f"unix: and an absolute path of at most {_LONGEST_PATH} bytes")
        return UnixAddress(path)
    return parse_tcp(text)


def parse_tcp(text: str) -> TcpAddress:
    """Read `HOST:PORT`. See `parse`."""
    host, _, port = text.rpartition(":")
    try:
        address = ip_address("127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ValueError("HOST:PORT with an IP address or localhost, such as 127.0.0.1:8080 or [::1]:8080") from None
    if isinstance(address, IPv6Address) != (host.startswith("[") and host.endswith("]")):
        raise ValueError("brackets around an IPv6 address, and around no other, such as [::1]:8080")
    if not (port.isascii() and port.isdigit() and len(port) <= _MOST_DIGITS and int(port) < 1 << 16):
        raise ValueError("a port from 0 to 65535 after the last colon")
    return TcpAddress(str(address), int(port))


def bind(address: Address, group: int | None = None, trust: Trust | None = None) -> socket.socket:
    """A socket that is bound to the address, and does not listen yet.

    A Unix socket that nobody listens on any more is replaced. Who runs this may connect to the new one, and the group
    if there is one: mode 0600 or 0660.

    Args:
        address: where.
        group: the id of a group that may connect to a Unix socket.
        trust: whom the path of a Unix socket may depend on, or else clients could come to talk to somebody else's; if
            not given, root and the user that this process runs as.

    Raises:
        ListenError: the address is taken, or not to be had.
    """
    try:
        if isinstance(address, UnixAddress):
            return _bind_unix(address.path, group, trust or Trust.of_this_process())
        return _bind_tcp(address)
    except UntrustedPathError as error:
        found, remedy = error.found, error.remedy
        expected = "directories, from / on, that nobody but root and this process's user can exchange or write to"
    except OSError as error:
        found = f"'{error.strerror or type(error).__name__}'"
        expected = "an address of this machine that is free, and that this process may use"
        remedy = "Choose another address, or end the program that listens there."
    raise ListenError(where=f"listening on {address}", found=found, expected=expected, remedy=remedy)


def _bind_tcp(address: TcpAddress) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address.host, address.port))
    except OSError:
        bound.close()
        raise
    return bound


def _bind_unix(path: Path, group: int | None, trust: Trust) -> socket.socket:
    folder = open_directory(path.parent, trust)
    try:
        # By the descriptor of the directory that was looked at, and short enough whatever its path.
        place = Path("/proc/self/fd", str(folder), path.name)
        if place.is_socket() and not _answers(place):
            place.unlink()
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            bound.bind(str(place))
            if group is not None:
                os.chown(place, -1, group, follow_symlinks=False)
                place.chmod(0o660)
        except OSError:
            bound.close()
            raise
        finally:
            os.umask(before)
    finally:
        os.close(folder)
    return bound


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        return True
