"""Which headers a proxy passes on, and which it adds (RFC 9110, section 7.6). Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from mtls_rotation.gateway.proxy.fields import GATEWAYS_OWN, HOP_BY_HOP, folded, is_name, is_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mtls_rotation.gateway.proxy.routes import HeaderPolicy

type Headers = list[tuple[str, str]]

# How a proxy names itself in `Via` (RFC 9110, section 7.6.3).
PSEUDONYM = "mtls-rotation"
# API Gateway's own, and the signature by which it knew the caller: they are no business of the upstream.
_AMAZONS = re.compile(r"x-amzn?-")
_SIGNATURE = re.compile(r"AWS4-", re.IGNORECASE)
_FORWARDED_FOR = frozenset({"x-forwarded-for", "x-forwarded-port", "x-forwarded-proto", "x-forwarded-host"})
# By which some servers take another method or path than the request line has. A route's policy may set them.
_OVERRIDES = frozenset(
    {"x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"}
)
# RFC 7239, section 4, and RFC 9110, section 7.6.3, without comments. Each quantifier gives nothing back, so that a
# line is read once whatever is in it.
_PAIR = r'[!#$%&\'*+\-.^_`|~0-9A-Za-z]++=(?:[!#$%&\'*+\-.^_`|~0-9A-Za-z]++|"(?:[^"\\\x00-\x1f]|\\[\x20-\x7e])*+")'
_ELEMENT = rf"{_PAIR}(?:[ \t]*+;[ \t]*+{_PAIR})*+"
_HOP = r"[A-Za-z0-9./]++[ \t]++[A-Za-z0-9._:\[\]-]++"
_WAYS = {
    "forwarded": re.compile(rf"{_ELEMENT}(?:[ \t]*+,[ \t]*+{_ELEMENT})*+"),
    "via": re.compile(rf"{_HOP}(?:[ \t]*+,[ \t]*+{_HOP})*+"),
}
_LONGEST_WAY = 4096
_NODE_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}(?::[0-9]{1,5})?")


class UnusableHeaderError(ValueError):
    """A header that is not passed on. The message may be shown to the caller."""


def outgoing(
    received: Mapping[str, Sequence[str]] | None, policy: HeaderPolicy, *, client: str, host: str, forwarded: bool
) -> Headers:
    """The headers for the upstream, without `Host` and `Content-Length`.

    Args:
        received: API Gateway's `multiValueHeaders`.
        policy: the route's.
        client: the caller's address.
        host: whom the caller asked.
        forwarded: whether to tell of both.

    Raises:
        UnusableHeaderError: a name or value that would break the request apart.
    """
    headers = [(name, value) for name, values in (received or {}).items() for value in values]
    for name, value in headers:
        if not is_name(name) or not is_value(value):
            raise UnusableHeaderError(f"the header {name[:40]!r} has characters that no header may have (RFC 9110)")
    before = {"forwarded": _well_formed(headers, "forwarded"), "via": _well_formed(headers, "via")}
    passed = [(name, value) for name, value in _end_to_end(headers) if not _is_gateways(name, value)]
    passed = _by_policy(passed, policy)
    if forwarded:
        passed.append(("forwarded", ", ".join(filter(None, [before["forwarded"], _forwarded(client, host)]))))
    passed.append(("via", ", ".join(filter(None, [before["via"], f"1.1 {PSEUDONYM}"]))))
    return passed


def incoming(received: Iterable[tuple[str, str]], policy: HeaderPolicy, *, keeps_length: bool) -> dict[str, list[str]]:
    """The headers for the caller, as `multiValueHeaders`.

    Args:
        received: the upstream's.
        policy: the route's.
        keeps_length: whether the length is the one that a GET's answer would have, as in an answer to HEAD and in a
            304. Of a body that is there API Gateway counts it, and a 204 must have none (RFC 9110, section 8.6).
    """
    headers = list(received)
    via = ", ".join(filter(None, [_well_formed(headers, "via"), f"1.1 {PSEUDONYM}"]))
    own = {"via"} if keeps_length else {"via", "content-length"}
    passed = [(name, value) for name, value in _end_to_end(headers) if name.lower() not in own and is_value(value)]
    answer: dict[str, list[str]] = {}
    for name, value in [*_by_policy(passed, policy), ("via", via)]:
        answer.setdefault(name.lower(), []).append(value)
    return answer


def _end_to_end(headers: Sequence[tuple[str, str]]) -> Headers:
    """Without those of one connection, which `Connection` may name further ones of."""
    named = {
        folded(option.strip()) for name, value in headers if folded(name) == "connection" for option in value.split(",")
    }
    dropped = HOP_BY_HOP | named
    return [(name, value) for name, value in headers if folded(name) not in dropped]


def _is_gateways(name: str, value: str) -> bool:
    known_as = folded(name)
    if known_as in GATEWAYS_OWN | _FORWARDED_FOR | _OVERRIDES or _AMAZONS.match(known_as):
        return True
    return known_as == "authorization" and bool(_SIGNATURE.match(value))


def _by_policy(headers: Headers, policy: HeaderPolicy) -> Headers:
    dropped = {folded(name) for name in policy.drop}
    names = {folded(old): new for old, new in policy.rename.items()}
    kept = [(name, value) for name, value in headers if folded(name) not in dropped]
    renamed = [(names[folded(name)], value) for name, value in kept if folded(name) in names]
    # A header gives way to one that takes its name.
    taken = {*names, *(folded(name) for name, _ in renamed)}
    passed = [*((name, value) for name, value in kept if folded(name) not in taken), *renamed]
    overridden = {folded(name) for name in policy.set}
    return [*((name, value) for name, value in passed if folded(name) not in overridden), *policy.set.items()]


def _well_formed(headers: Iterable[tuple[str, str]], wanted: str) -> str:
    """A list-valued header as one line (RFC 9110, section 5.3).

    Empty where it is not well formed: what is added behind an open quotation mark would be part of the quotation.
    """
    line = ", ".join(value for name, value in headers if name.lower() == wanted and value.strip())
    return line if len(line) <= _LONGEST_WAY and _WAYS[wanted].fullmatch(line) else ""


def _forwarded(client: str, host: str) -> str:
    """One element of `Forwarded` (RFC 7239, section 4): who asked whom."""
    try:
        address = ipaddress.ip_address(client)
        node = f'"[{address}]"' if address.version == 6 else str(address)
        if "%" in node:  # a zone may have any text for its name
            node = "unknown"
    except ValueError:
        node = "unknown"
    named = f'host="{host}";' if _NODE_NAME.fullmatch(host) else ""
    return f"for={node};{named}proto=https"
