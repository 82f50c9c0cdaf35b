"""What certificate a secret asks for: its names, its key, how long it lives. What cannot be met is refused here.

Everything is kept as the operator wrote it; how it is written into a certificate is the matter of `pki`.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from mtls_rotation.pki import names

DEFAULT_VALIDITY = timedelta(days=30)
MAX_VALIDITY_DAYS = 7300


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


def _dns_name(text: str) -> str:
    names.dns_name(text)
    return text


def _email(text: str) -> str:
    names.email(text)
    return text


def _uri(text: str) -> str:
    names.uri(text)
    return text


def _ip_address(text: str) -> str:
    names.ip_address(text)
    return text


def _extended_key_usage(text: str) -> str:
    names.extended_key_usage(text)
    return text


def _of_64_bytes(text: str) -> str:
    """The bound is one of characters; `cryptography` holds common names, and no others, to as many bytes of UTF-8."""
    if len(text.encode()) > 64:
        raise ValueError("64 bytes of UTF-8 at most; letters beyond ASCII take two to four")
    return text


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("each value once")
    return values


def _one_spiffe_id(values: tuple[str, ...]) -> tuple[str, ...]:
    """An X.509-SVID has exactly one URI that is a SPIFFE ID (X509-SVID.md, section 2)."""
    if sum(value.startswith("spiffe:") for value in values) > 1:
        raise ValueError("one SPIFFE ID at most (X509-SVID, section 2)")
    return values


# Upper bounds of RFC 5280, appendix A.1 (ub-common-name, ub-organization-name, ub-locality-name, ub-state-name).
Name64 = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_printable)]
CommonName = Annotated[Name64, AfterValidator(_of_64_bytes)]
Name128 = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]


class Strict(BaseModel):
    """A part of the secret whose keys are all ours: a misspelt one is an error, not a silent default."""

    # Inputs stay out of error texts: they may hold a private key.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class CertificateRequest(Strict):
    """What certificate to make.

    `validity_days` or `validity_hours` counts from the moment of issue; 30 days where neither is given. Lists may be
    empty. Host names may be written in Unicode. `extended_key_usages` are those besides clientAuth, by their names in
    RFC 5280 (serverAuth, ...) or as dotted numbers.
    """

    common_name: CommonName
    organization: Name64 | None = None
    organizational_unit: Name64 | None = None
    country: Annotated[str, Field(pattern="^[A-Z]{2}$")] | None = None
    state: Name128 | None = None
    locality: Name128 | None = None
    dns_names: Annotated[tuple[Annotated[str, AfterValidator(_dns_name)], ...], AfterValidator(_distinct)] = ()
    uris: Annotated[
        tuple[Annotated[str, AfterValidator(_uri)], ...], AfterValidator(_distinct), AfterValidator(_one_spiffe_id)
    ] = ()
    emails: Annotated[tuple[Annotated[str, AfterValidator(_email)], ...], AfterValidator(_distinct)] = ()
    ip_addresses: Annotated[tuple[Annotated[str, AfterValidator(_ip_address)], ...], AfterValidator(_distinct)] = ()
    extended_key_usages: Annotated[
        tuple[Annotated[str, AfterValidator(_extended_key_usage)], ...], AfterValidator(_distinct)
    ] = ()
    key_algorithm: KeyAlgorithm = KeyAlgorithm.EC_P256
    validity_days: Annotated[int, Field(ge=1, le=MAX_VALIDITY_DAYS, strict=True)] | None = None
    validity_hours: Annotated[int, Field(ge=1, le=MAX_VALIDITY_DAYS * 24, strict=True)] | None = None

    @model_validator(mode="after")
    def _one_validity(self) -> Self:
        if self.validity_days is not None and self.validity_hours is not None:
            raise ValueError("validity_days or validity_hours, not both")
        return self

    @property
    def validity(self) -> timedelta:
        """How long the certificate is to be valid, from the moment of issue."""
        if self.validity_hours is not None:
            return timedelta(hours=self.validity_hours)
        return DEFAULT_VALIDITY if self.validity_days is None else timedelta(days=self.validity_days)

    @property
    def leaf_only_fields(self) -> tuple[str, ...]:
        """The fields in use that only a client's certificate can have."""
        fields = ("dns_names", "uris", "emails", "ip_addresses", "extended_key_usages")
        return tuple(field for field in fields if getattr(self, field))
