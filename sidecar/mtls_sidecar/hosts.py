"""Whom a request says that it is for, by its field Host. A page in a browser on this machine can have its own name lead
to the listener (DNS rebinding), and then reads what the certificate is answered; but it cannot have Host say another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from mtls_sidecar.address import Address, TcpAddress, UnixAddress

ANY = "any"
# RFC 9110, 7.2, with the names that DNS has, and addresses as browsers write them.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,254})(?::[0-9]{0,5})?")
_LONGEST_LIST = 64 << 10


@dataclass(frozen=True, slots=True)
class FurtherHosts:
    """Hosts that requests may be for beside those that every listener has.

    Attributes:
        names: in lower case, without a port.
        any: whether all of them.
    """

    names: frozenset[str] = frozenset()
    any: bool = False

    def __str__(self) -> str:
        return ANY if self.any else ",".join(sorted(self.names))


def parse(text: str) -> FurtherHosts:
    """Read `HOST[,HOST...]`, or `any`.

    Raises:
        ValueError: it is neither.
    """
    expected = "names or addresses with commas between them and without ports, such as sidecar,10.0.0.1; or any"
    if len(text) > _LONGEST_LIST:
        raise ValueError(expected)
    if text.strip() == ANY:
        return FurtherHosts(any=True)
    names = [it.strip() for it in text.split(",")]
    if not all((found := _HOST.fullmatch(it)) and found[1] == it for it in names):
        raise ValueError(expected)
    return FurtherHosts(frozenset(_canonical(it) for it in names))


def may_be_for(host: str | None, listen: Address, further: FurtherHosts) -> bool:
    """Whether a request that came to the listener may be for this host.

    That is loopback by name or address, what the listener is bound to, and what is allowed beside. A listener on all
    addresses has every address, for only a name can be led elsewhere. No browser reaches a Unix socket.

    Args:
        host: the field's value; None for a request of HTTP/1.0 without it, which no browser sends.
        listen: where the listener is.
        further: what is allowed beside.
    """
    if host is None or isinstance(listen, UnixAddress) or further.any:
        return True
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = _canonical(found[1])
    if name == "localhost" or name in further.names:
        return True
    address = _address(name)
    return address is not None and (address.is_loopback or _is_at(address, listen))


def _is_at(address: IPv4Address | IPv6Address, listen: TcpAddress) -> bool:
    bound = ip_address(listen.host)
    # A browser takes 0.0.0.0 for this machine, whoever's page it shows.
    return address == bound if not bound.is_unspecified else not address.is_unspecified


def _canonical(name: str) -> str:
    address = _address(name.lower())
    return str(address) if address is not None else name.lower().removesuffix(".")


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
