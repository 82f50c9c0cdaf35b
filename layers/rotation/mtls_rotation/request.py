"""What certificate a secret asks for: its names, its key, how long it lives. What cannot be met is refused here.

Everything is kept as the operator wrote it; how it is written into a certificate is the matter of `pki`.
"""

import re
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_DNS_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_EMAIL_LOCAL_PART = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}")


class KeyAlgorithm(StrEnum):
    """The keys that a request may ask for. API Gateway takes RSA-2048, P-256 and stronger."""

    EC_P256 = "EC_P256"
    EC_P384 = "EC_P384"
    RSA_2048 = "RSA_2048"
    RSA_3072 = "RSA_3072"
    RSA_4096 = "RSA_4096"


def _printable(text: str) -> str:
    if text != text.strip() or not text.isprintable():
        raise ValueError("text without control characters and without spaces at its ends")
    return text


def dns_name(name: str) -> str:
    """The name, if it is a host name of the DNS (a validator)."""
    if len(name) > 253 or not all(_DNS_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError("a DNS name such as billing.example.com (RFC 1034, section 3.5)")
    return name


def _email(address: str) -> str:
    local, at, domain = address.rpartition("@")
    if not at or not _EMAIL_LOCAL_PART.fullmatch(local):
        raise ValueError("an e-mail address such as team@example.com (RFC 5280, section 4.2.1.6)")
    dns_name(domain)
    return address


def _uri(text: str) -> str:
    expected = "an absolute URI in ASCII, such as spiffe://example.com/billing (RFC 5280, section 4.2.1.6)"
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError(expected) from None
    if not (
        text.isascii() and text.isprintable() and " " not in text and parts.scheme and (parts.netloc or parts.path)
    ):
        raise ValueError(expected)
    return text


# Upper bounds of RFC 5280, appendix A.1 (ub-common-name, ub-organization-name).
Name64 = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_printable)]


class Strict(BaseModel):
    """A part of the secret whose keys are all ours: a misspelt one is an error, not a silent default."""

    # Inputs stay out of error texts: they may hold a private key.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class CertificateRequest(Strict):
    """What certificate to make.

    `validity_days` counts from the moment of issue. Lists may be empty.
    """

    common_name: Name64
    organization: Name64 | None = None
    dns_names: tuple[Annotated[str, AfterValidator(dns_name)], ...] = ()
    uris: tuple[Annotated[str, AfterValidator(_uri)], ...] = ()
    emails: tuple[Annotated[str, AfterValidator(_email)], ...] = ()
    key_algorithm: KeyAlgorithm = KeyAlgorithm.EC_P256
    validity_days: Annotated[int, Field(ge=1, le=7300, strict=True)] = 30
