"""How names that an operator writes are encoded in a certificate, and how those in one are written as text. Pure.

Text in ASCII comes out as it went in; the rest is encoded as RFC 5280, section 7, has it, with IDNA 2008.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit, urlunsplit

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DNS_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_EMAIL_LOCAL_PART = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}")
_URI_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_SPIFFE_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
# See `profile.generation`.
_GENERATION = re.compile(r"[0-9]{8}-[0-9a-f]{12}")
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


# RFC 4514, section 2.3, writes an attribute by its registered name (this one: RFC 4519, section 2.8); the library knows
# nine of them, and writes numbers for the rest.
_WRITTEN = {NameOID.DN_QUALIFIER: "dnQualifier"}
# How it is read besides: in small letters, and as Java writes it.
_READ = dict.fromkeys(("dnQualifier", "dnqualifier", "DNQUALIFIER", "DNQ"), NameOID.DN_QUALIFIER)


def rfc4514(name: x509.Name) -> str:
    """A distinguished name as RFC 4514 writes it, the most specific part first."""
    return name.rfc4514_string(_WRITTEN)


def from_rfc4514(text: str) -> x509.Name:
    """The distinguished name in a text of RFC 4514.

    Raises:
        ValueError: it is none.
    """
    return x509.Name.from_rfc4514_string(text, _READ)


def without_generation(name: x509.Name) -> x509.Name:
    """A distinguished name without what changes in it from one certificate that signs itself to the next.

    Another's dnQualifier tells whom the name is of, and stays.
    """
    return x509.Name([it for it in name.rdns if not _is_generation(it)])


def _is_generation(part: x509.RelativeDistinguishedName) -> bool:
    attribute, *further = part
    return not further and attribute.oid == NameOID.DN_QUALIFIER and bool(_GENERATION.fullmatch(str(attribute.value)))


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
