"""What an operator asks for on a command line, and the definition of a secret that it comes to. Calls no AWS."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mtls_rotation.issuers import registry
from mtls_rotation.pki.request import KeyAlgorithm
from mtlsctl.errors import InvalidInputError
from mtlsctl.files import documents

if TYPE_CHECKING:
    from collections.abc import Mapping

type Kind = Literal["client", "ca"]
type Document = dict[str, Any]

# What rotation writes, and an operator does not.
_ISSUED = frozenset(
    {"certificate", "certificate_chain", "anchor", "private_key", "serial_number", "fingerprint_sha256"}
)


if TYPE_CHECKING:
    type IssuerType = str
    type CaKey = str
else:
    # The issuers' registry knows which there are: what may sign a client's certificate, and what keeps a CA's key.
    IssuerType = StrEnum("IssuerType", [(it, it) for it in registry.types_that_sign("client")])
    CaKey = StrEnum("CaKey", [(it, it) for it in registry.types_that_sign("ca")])

_UNTRUSTED = " or ".join(registry.types_untrusted_by_default())

_CERTIFICATE, _SIGNING, _PROOF, _UPKEEP = "The certificate", "Who signs it", "Where it is proved", "The secret"
_Text = str | None
_Texts = list[str] | None


def _option(*flags: str, text: str, panel: str, metavar: str | None = "TEXT") -> Any:
    return typer.Option(*flags, help=text, rich_help_panel=panel, metavar=metavar, show_default=False)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a CA's certificate says, and a client's too."""

    common_name: Annotated[_Text, _option(text="Common name. Default: the secret's name.", panel=_CERTIFICATE)] = None
    organization: Annotated[_Text, _option(text="Organization.", panel=_CERTIFICATE)] = None
    organizational_unit: Annotated[_Text, _option(text="Organizational unit.", panel=_CERTIFICATE)] = None
    country: Annotated[_Text, _option(text="Country, two capital letters.", panel=_CERTIFICATE)] = None
    state: Annotated[_Text, _option(text="State or province.", panel=_CERTIFICATE)] = None
    locality: Annotated[_Text, _option(text="Locality.", panel=_CERTIFICATE)] = None
    key_algorithm: Annotated[KeyAlgorithm | None, _option(text="Kind of key.", panel=_CERTIFICATE, metavar=None)] = None
    validity_days: Annotated[int | None, _option(text="Days that it is valid.", panel=_CERTIFICATE, metavar="DAYS")] = (
        None
    )
    validity_hours: Annotated[
        int | None, _option(text="Hours that it is valid, in place of days.", panel=_CERTIFICATE, metavar="HOURS")
    ] = None


@dataclass(frozen=True, slots=True)
class AlternativeNames:
    """What a client's certificate says besides."""

    dns_names: Annotated[_Texts, _option("--dns-name", text="DNS name. Repeatable.", panel=_CERTIFICATE)] = None
    uris: Annotated[_Texts, _option("--uri", text="URI, such as a SPIFFE ID. Repeatable.", panel=_CERTIFICATE)] = None
    emails: Annotated[_Texts, _option("--email", text="E-mail address. Repeatable.", panel=_CERTIFICATE)] = None
    ip_addresses: Annotated[_Texts, _option("--ip-address", text="IP address. Repeatable.", panel=_CERTIFICATE)] = None
    extended_key_usages: Annotated[
        _Texts,
        _option(
            "--extended-key-usage", text="Usage besides clientAuth, such as serverAuth. Repeatable.", panel=_CERTIFICATE
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class Signing:
    """What signs a client's certificate, and who is to trust it."""

    issuer: Annotated[
        IssuerType | None,
        _option(text="What signs it. Default: what signs the stack's own.", panel=_SIGNING, metavar=None),
    ] = None
    ca_secret: Annotated[
        _Text, _option(text="CA secret to issue from. Default: the stack's own.", panel=_SIGNING, metavar="SECRET")
    ] = None
    private_ca_arn: Annotated[
        _Text,
        _option(
            text="CA of AWS Private CA. Default: the stack's parameter PrivateCaArn.", panel=_SIGNING, metavar="ARN"
        ),
    ] = None
    ca_certificates: Annotated[
        _Text,
        _option(
            text="PEM file of the CAs that may sign for the issuer external, up to their root. Needed where the gateway"
            " is to trust them.",
            panel=_SIGNING,
            metavar="FILE",
        ),
    ] = None
    trusted_by_gateway: Annotated[
        bool | None,
        _option(
            "--trusted-by-gateway/--untrusted-by-gateway",
            text=f"Whether the stack's truststore is to hold its anchor. Default: yes, but not for {_UNTRUSTED}.",
            panel=_SIGNING,
            metavar=None,
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class Proof:
    """Where each new certificate is proved before it is used."""

    prove_at: Annotated[
        _Text, _option(text="https URL that each new certificate is proved at.", panel=_PROOF, metavar="URL")
    ] = None
    expected_status: Annotated[
        list[int] | None,
        _option(text="HTTP status that proves acceptance. Repeatable. Default: 200.", panel=_PROOF, metavar="NUMBER"),
    ] = None
    server_ca: Annotated[
        _Text,
        _option(text="PEM file of the CAs of that server. Default: the public CAs.", panel=_PROOF, metavar="FILE"),
    ] = None


@dataclass(frozen=True, slots=True)
class Upkeep:
    """The secret itself, and when it is rotated."""

    schedule: Annotated[
        _Text, _option(text="Such as 'rate(10 days)'. Default: that of the stack's own.", panel=_UPKEEP)
    ] = None
    description: Annotated[_Text, _option(text="The secret's description.", panel=_UPKEEP)] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print what would be made, make nothing.")
    ] = False


def given(bundle: Any) -> Document:
    """The options of a bundle that were given."""
    return {it.name: value for it in fields(bundle) if (value := getattr(bundle, it.name)) not in (None, [])}


def endpoint_of(proof: Proof, before: Mapping[str, Any] | None = None) -> Document:
    """The secret's `endpoint`, as a file has it and options change it; empty where there is none.

    Raises:
        InvalidInputError: the file of --server-ca cannot be read.
    """
    made = dict(before or {})
    if proof.prove_at:
        made["url"] = proof.prove_at
    if proof.expected_status:
        made["expected_status"] = proof.expected_status
    if proof.server_ca:
        made["server_ca"] = documents.certificates(proof.server_ca, "--server-ca")
    if made and "url" not in made:
        raise InvalidInputError(
            where="--expected-status or --server-ca",
            found="no URL that they are for",
            expected="--prove-at beside them",
            remedy="Name the URL that a new certificate is to be proved at; nothing was made.",
        )
    return made


def request_of(
    name: str, options: Mapping[str, Any], before: Mapping[str, Any] | None, validity_days: int | None
) -> Document:
    """The secret's `request`: the options, before them the file's, and before these what is assumed."""
    made = {"common_name": name.rpartition("/")[2]} | dict(before or {})
    validities = {"validity_days", "validity_hours"}
    if options.keys() & validities:
        made = {key: value for key, value in made.items() if key not in validities}
    elif not made.keys() & validities and validity_days:
        made["validity_days"] = validity_days
    return made | dict(options)


def require_no_certificate(document: Mapping[str, Any]) -> None:
    """See that a definition holds nothing that rotation writes.

    Raises:
        InvalidInputError: it does.
    """
    if found := sorted(_ISSUED & document.keys()):
        raise InvalidInputError(
            where="--from",
            found=f"a certificate of its own ({', '.join(found)})",
            expected="what an operator writes: request, issuer, endpoint",
            remedy="`mtlsctl import client` takes a certificate that is there already; nothing was made.",
        )


def require_kind(document: Mapping[str, Any], kind: Kind) -> None:
    """See that a definition is of the kind that is to be made.

    Raises:
        InvalidInputError: it says another.
    """
    says = document.get("kind", kind)
    if says != kind:
        raise InvalidInputError(
            where="--from, kind",
            found=repr(says),
            expected=f'"{kind}", or nothing',
            remedy=f"Correct the file, or use `mtlsctl create {says}`; nothing was made.",
        )
