"""How the alternative names that an operator writes are encoded in a certificate, and when two are the same. Pure.

Text in ASCII comes out as it went in; the rest is encoded as RFC 5280, section 7, has it, with IDNA 2008.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, urlsplit, urlunsplit

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_rotation.pki.distinguished_names import DistinguishedName

_DNS_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_EMAIL_LOCAL_PART = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}")
_URI_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_SPIFFE_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
# RFC 3986, section 2.3.
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
_SPIFFE_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")
# What a URI may hold as it is (RFC 3986, section 2), "%" included: what is encoded already stays so.
_URI_CHARACTERS = ":/?#[]@!$&'()*+,;=%~"

EXTENDED_KEY_USAGES = {
    "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "serverAuth": ExtendedKeyUsageOID.SERVER_AUTH,
    "codeSigning": ExtendedKeyUsageOID.CODE_SIGNING,
    "emailProtection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timeStamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "OCSPSigning": ExtendedKeyUsageOID.OCSP_SIGNING,
    "smartcardLogon": ExtendedKeyUsageOID.SMARTCARD_LOGON,
    "ipsecIKE": ExtendedKeyUsageOID.IPSEC_IKE,
}


def dns_name(text: str) -> str:
    """A host name in ASCII, its Unicode labels as A-labels (RFC 5890).

    Raises:
        ValueError: it is none; the message says what was expected.
    """
    expected = "a DNS name such as billing.example.com (RFC 1034, section 3.5; RFC 5890 for Unicode)"
    name = text
    if not text.isascii():
        import idna  # here, because few names need it and every cold start would pay for it

        try:
            name = idna.encode(text, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            raise ValueError(expected) from None
    if len(name) > 253 or not all(_DNS_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError(expected)
    return name


def email(text: str) -> str:
    """An e-mail address in ASCII, its domain encoded as a DNS name.

    Raises:
        ValueError: it is none, or its local part is not ASCII: that would need a SmtpUTF8Mailbox (RFC 9598), which
            gateways do not read.
    """
    local, at, domain = text.rpartition("@")
    if not at or not _EMAIL_LOCAL_PART.fullmatch(local):
        raise ValueError(
            "an e-mail address such as team@example.com, with nothing but ASCII before the @"
            " (RFC 5280, section 4.2.1.6)"
        )
    return f"{local}@{dns_name(domain)}"


def uri(text: str) -> str:
    """A URI in ASCII: of an IRI, the host as a DNS name, the rest percent-encoded (RFC 3987, section 3.1).

    Raises:
        ValueError: it is no absolute URI, or a SPIFFE ID that breaks the SPIFFE specification.
    """
    expected = "an absolute URI such as spiffe://example.com/billing (RFC 5280, section 4.2.1.6)"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(expected) from None
    if not (text.isprintable() and " " not in text and _URI_SCHEME.fullmatch(parts.scheme or "")):
        raise ValueError(expected)
    if not (parts.netloc or parts.path):
        raise ValueError(expected)
    if parts.scheme == "spiffe":
        _require_spiffe_id(text)
        return text
    if text.isascii():
        return text
    host = dns_name(parts.hostname) if parts.hostname and not parts.hostname.isascii() else parts.hostname or ""
    user, at, _ = parts.netloc.rpartition("@")
    authority = f"{quote(user, _URI_CHARACTERS)}{at}{host}{f':{port}' if port else ''}" if parts.netloc else ""
    rest = (quote(part, _URI_CHARACTERS) for part in (parts.path, parts.query, parts.fragment))
    return urlunsplit((parts.scheme, authority, *rest))


def _require_spiffe_id(text: str) -> None:
    """See https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md, section 2."""
    domain, slash, path = text.removeprefix("spiffe://").partition("/")
    segments = path.split("/") if slash else []
    if not (
        text.startswith("spiffe://")
        and len(text) <= 2048
        and _SPIFFE_TRUST_DOMAIN.fullmatch(domain)
        and all(_SPIFFE_SEGMENT.fullmatch(segment) and segment not in {".", ".."} for segment in segments)
    ):
        raise ValueError(
            "a SPIFFE ID such as spiffe://example.com/billing: a trust domain in lower case, and a path of letters,"
            " digits, '.', '-' and '_' with no empty segment"
        )


def ip_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An IP address.

    Raises:
        ValueError: it is none, or has a zone, which says something on one host alone and which no certificate can
            hold (RFC 4007, section 11; RFC 5280, section 4.2.1.6).
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("an IPv4 or IPv6 address such as 192.0.2.1") from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise ValueError("an IPv6 address without a zone, which no certificate can hold")
    return address


def folded(name: x509.GeneralName) -> tuple[type[x509.GeneralName], object]:
    """What alternative names have in common that RFC 5280, section 7, takes for one name.

    Host names have no case (7.2), and those in addresses of e-mail neither (7.5), whose local part has; of a URI the
    scheme and the host have none (7.4).
    """
    match name:
        case x509.DNSName():
            return type(name), name.value.lower()
        case x509.RFC822Name():
            return type(name), folded_email(name.value)
        case x509.UniformResourceIdentifier():
            return type(name), _folded_uri(name.value)
        case x509.DirectoryName():
            return type(name), DistinguishedName.of(name.value).folded
        case _:
            return type(name), name


def folded_email(text: str) -> str:
    """An address of e-mail without the case of its host."""
    local, at, host = text.rpartition("@")
    return f"{local}{at}{host.lower()}"


def _folded_uri(text: str) -> str:
    """See RFC 3986, section 6.2.2.1; and what is encoded needlessly counts as it would be without (6.2.2.2)."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return text
    user, at, host = parts.netloc.rpartition("@")
    rest = (_ENCODED.sub(_as_plain_as_may_be, it) for it in (parts.path, parts.query, parts.fragment))
    return urlunsplit((parts.scheme.lower(), f"{user}{at}{host.lower()}", *rest))


def _as_plain_as_may_be(encoded: re.Match[str]) -> str:
    plain = chr(int(encoded[1], 16))
    return plain if _UNRESERVED.fullmatch(plain) else encoded[0].upper()


def extended_key_usage(text: str) -> x509.ObjectIdentifier:
    """An extended key usage by its name in RFC 5280 or by its dotted number.

    Raises:
        ValueError: it is neither, or anyExtendedKeyUsage, which would undo every other.
    """
    if known := EXTENDED_KEY_USAGES.get(text):
        return known
    try:
        usage = x509.ObjectIdentifier(text)
    except ValueError:
        raise ValueError(f"one of {', '.join(EXTENDED_KEY_USAGES)}, or a dotted object identifier") from None
    if usage == ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE:
        raise ValueError("usages by name: anyExtendedKeyUsage would make the certificate good for everything")
    return usage
