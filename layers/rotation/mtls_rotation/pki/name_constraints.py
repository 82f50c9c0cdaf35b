"""Which names the CAs above a certificate allow it (RFC 5280, section 4.2.1.10). Pure.

What servers read differently is refused, so that none of them refuses what this accepts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from mtls_rotation.pki.distinguished_names import rfc4514
from mtls_rotation.pki.signatures import comparable

if TYPE_CHECKING:
    from collections.abc import Iterator

# What OpenSSL takes for a host in a common name: two labels or more (`cn2dnsid` in crypto/x509/v3_ncons.c).
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)+")


def violation(
    constraints: x509.NameConstraints,
    subject: x509.Name,
    alternative: x509.SubjectAlternativeName | None,
    *,
    client: bool,
) -> str | None:
    """Why a certificate of these names must not be below a CA with these constraints; None if it may.

    Args:
        constraints: the CA's.
        subject: the certificate's.
        alternative: its further names.
        client: whether it is a client's: OpenSSL holds its common name to be a host's, where it looks like one.
    """
    for kind, name in _names(subject, alternative, client=client):
        try:
            permitted = [it.value for it in constraints.permitted_subtrees or () if isinstance(it, kind)]
            excluded = [it.value for it in constraints.excluded_subtrees or () if isinstance(it, kind)]
            if permitted and not any(_is_within(kind, name, it) for it in permitted):
                return f"its name constraints do not permit {_text(name)}"
            if any(_is_within(kind, name, it) for it in excluded):
                return f"its name constraints exclude {_text(name)}"
        except ValueError as error:
            return f"not every server reads its name constraints alike for {_text(name)}: {error}"
    return None


def _names(
    subject: x509.Name, alternative: x509.SubjectAlternativeName | None, *, client: bool
) -> Iterator[tuple[type[x509.GeneralName], Any]]:
    """Each name by its kind."""
    if subject.rdns:
        yield x509.DirectoryName, subject
    for attribute in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
        yield x509.RFC822Name, str(attribute.value)
    for name in alternative or ():
        yield type(name), name.value
    if client and not any(isinstance(it, x509.DNSName) for it in alternative or ()):
        for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME):
            if _HOST.fullmatch(str(attribute.value)):
                yield x509.DNSName, str(attribute.value)


def _is_within(kind: type[x509.GeneralName], name: Any, subtree: Any) -> bool:
    """Whether a name is within a subtree of its own kind.

    Raises:
        ValueError: servers do not agree.
    """
    if kind is x509.DNSName:
        return _is_host_below(name, subtree)
    if kind is x509.RFC822Name:
        return _is_mailbox_within(name, subtree)
    if kind is x509.UniformResourceIdentifier:
        return _is_host_within(_host(name), subtree)
    if kind is x509.IPAddress:  # a subtree is a network
        return name.version == subtree.version and name in subtree
    if kind is x509.DirectoryName:
        wanted = comparable(subtree)
        return comparable(name)[: len(wanted)] == wanted
    raise ValueError("they are of a kind that few servers know")


def _is_host_below(host: str, subtree: str) -> bool:
    """A host and all below it. With a dot before it, servers agree only on what is below."""
    host, wanted = host.lower(), subtree.lower().removeprefix(".")
    if not wanted:
        return True
    if host == wanted and subtree.startswith("."):
        raise ValueError(f"{subtree} begins with a dot")
    return host == wanted or host.endswith(f".{wanted}")


def _is_mailbox_within(mailbox: str, subtree: str) -> bool:
    local, at, host = mailbox.rpartition("@")
    wanted, named, wanted_host = subtree.rpartition("@")
    if not at or (named and not wanted):
        raise ValueError("an e-mail address without an @, or with nothing before it")
    if named:
        return local == wanted and host.lower() == wanted_host.lower()
    return _is_host_within(host, subtree)


def _is_host_within(host: str, subtree: str) -> bool:
    """This very host; or, where the subtree begins with a dot, one below it."""
    if not subtree:
        raise ValueError("an empty host")
    host, subtree = host.lower(), subtree.lower()
    return host.endswith(subtree) and len(host) > len(subtree) if subtree.startswith(".") else host == subtree


def _host(uri: str) -> str:
    parts = urlsplit(uri)
    host = parts.hostname
    if not host or "@" in parts.netloc or not parts.netloc.lower().startswith(host) or host.replace(".", "").isdigit():
        raise ValueError("a URI without a host name, or with more than a host name and a port before its path")
    return host


def _text(name: object) -> str:
    return rfc4514(name) if isinstance(name, x509.Name) else str(name)
