"""The properties that the template gives the custom resource: secrets to define, documents to check, what to delete."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from mtls_rotation.contract.issuance import parse_rules
from mtls_rotation.errors import InvalidSettingsError
from mtls_rotation.gateway.authorizer.allow_list import AllowList
from mtls_rotation.gateway.live_document import plain
from mtls_rotation.gateway.proxy.routes import RouteTable
from mtls_rotation.issuers import registry
from mtls_rotation.pki import bundles
from mtls_rotation.stack.bootstrap import SecretDefinition

if TYPE_CHECKING:
    from collections.abc import Callable


def definitions(properties: dict[str, Any]) -> tuple[SecretDefinition | None, SecretDefinition]:
    """The CA's and the client's definition, from the resource's properties; no CA's if the issuer has no CA secret.

    CloudFormation hands numbers over as strings and parameters left empty as empty strings.

    Raises:
        InvalidSettingsError: a property is missing or no number.
    """
    client_secret, endpoint = _text(properties, "ClientSecret"), _endpoint(properties)
    client: dict[str, Any] = {
        "kind": "client",
        "request": _request(properties, "Client"),
        "issuer": _issuer(properties),
        **({"endpoint": endpoint} if endpoint else {}),
    }
    issue = properties.get("FirstCertificate") == "bootstrap"
    return _ca(properties, endpoint), SecretDefinition(client_secret, client, issue)


def documents(properties: dict[str, Any], read: Callable[[str], str]) -> None:
    """Look at the allow-list and the route table, which other functions will read.

    Args:
        properties: the resource's.
        read: gives a parameter of Systems Manager.

    Raises:
        InvalidSettingsError: one of them cannot be used.
    """
    for name, parse in (("AllowList", AllowList.parse), ("ProxyRoutes", RouteTable.parse)):
        if properties.get(f"{name}Parameter"):
            stored = _text(properties, f"{name}Parameter")
            parse(read(stored), f"parameter {stored} of Systems Manager")
        elif properties.get(name):
            text = _text(properties, name)
            where = f"the template's parameter {name}"
            parse(plain(text, where), where)


def secrets(properties: dict[str, Any]) -> list[str]:
    """The stack's own secrets, by ARN."""
    return [_text(properties, name) for name in ("CaSecret", "ClientSecret") if properties.get(name)]


def leaving_ca_secret(request_type: str, properties: dict[str, Any], former: dict[str, Any]) -> str | None:
    """The CA secret, by ARN, that the stack has no more after this, if its CAs' keys are in KMS; None if there is none.

    Args:
        request_type: CloudFormation's: Create, Update or Delete.
        properties: the resource's; of a Delete, those that it had.
        former: those that an Update replaces.
    """
    before, after = (properties, {}) if request_type == "Delete" else (former, properties)
    if not before.get("CaSecret") or before.get("CaSecret") == after.get("CaSecret"):
        return None
    issuer = before.get("ClientIssuer")
    kept = registry.kind(issuer).ca_issuer if isinstance(issuer, str) and issuer in registry.MODULES else None
    return _text(before, "CaSecret") if kept == "kms" else None


def removes_data(properties: dict[str, Any]) -> bool:
    """Whether the bucket and the secrets are to go with the stack."""
    return properties.get("OnDelete") == "delete"


# What changes the domain name in an update of the stack. A change of the name itself makes a new one.
_OF_THE_DOMAIN = ("HostedZoneId", "CertificateArn", "OwnershipVerificationCertificateArn", "GatewayDomainRevision")


def updated_domain(properties: dict[str, Any], before: dict[str, Any]) -> str:
    """The domain name that the template updates, by the properties and those before; empty where it updates none."""
    name = properties.get("DomainName")
    if not isinstance(name, str) or name != before.get("DomainName"):
        return ""
    return name if any(properties.get(it) != before.get(it) for it in _OF_THE_DOMAIN) else ""


def _ca(properties: dict[str, Any], endpoint: dict[str, Any] | None) -> SecretDefinition | None:
    ca_secret = properties.get("CaSecret")
    if not ca_secret:
        return None
    notice = _number(properties, "CaNoticeDays")
    ca: dict[str, Any] = {
        "kind": "ca",
        "request": _request(properties, "Ca"),
        "issuer": {"type": registry.kind(_text(properties, "ClientIssuer")).ca_issuer},
        **({"notice_days": notice} if notice else {}),
        **_may_issue(properties),
        # A CA is proved at the gateway that the stack owns; an outside server learns of it from its owner.
        **({"endpoint": endpoint} if properties.get("DomainName") else {}),
    }
    return SecretDefinition(_text(properties, "CaSecret"), ca)


def _may_issue(properties: dict[str, Any]) -> dict[str, Any]:
    if not properties.get("MayIssue"):
        return {}
    where = "the template's parameter MayIssue"
    rules = parse_rules(plain(_text(properties, "MayIssue"), where), where)
    return {"may_issue": [it.model_dump(mode="json", exclude_defaults=True) for it in rules]}


def _issuer(properties: dict[str, Any]) -> dict[str, Any]:
    issuer = _text(properties, "ClientIssuer")
    if issuer not in registry.MODULES:
        *others, last = registry.MODULES
        raise _invalid("ClientIssuer", issuer, f"{', '.join(others)} or {last}")
    parameters = registry.kind(issuer).parameters
    return {"type": issuer} | {member: _text(properties, name) for member, name in parameters.items()}


# More than any number of days or hours has.
_MOST_DIGITS = 9
_SUBJECT = (
    ("organization", "Organization"),
    ("organizational_unit", "OrganizationalUnit"),
    ("locality", "Locality"),
    ("state", "State"),
    ("country", "Country"),
)
_LISTS = (
    ("dns_names", "DnsNames"),
    ("uris", "Uris"),
    ("emails", "Emails"),
    ("ip_addresses", "IpAddresses"),
    ("extended_key_usages", "ExtendedKeyUsages"),
)


def _request(properties: dict[str, Any], prefix: str) -> dict[str, Any]:
    request: dict[str, Any] = {
        "common_name": _text(properties, f"{prefix}CommonName"),
        "key_algorithm": _text(properties, f"{prefix}KeyAlgorithm"),
        "validity_days": _number(properties, f"{prefix}ValidityDays"),
    }
    for member, name in _SUBJECT:
        if value := properties.get(f"{prefix}{name}"):
            request[member] = value
    for member, name in _LISTS:
        if values := [value.strip() for value in _texts(properties, f"{prefix}{name}") if value.strip()]:
            request[member] = values
    return request


def _endpoint(properties: dict[str, Any]) -> dict[str, Any] | None:
    url = properties.get("EndpointUrl", "")
    if not url:
        return None
    server_ca = properties.get("EndpointServerCa", "")
    return {"url": url, **({"server_ca": _base64(properties, "EndpointServerCa")} if server_ca else {})}


def _text(properties: dict[str, Any], name: str) -> str:
    value = properties.get(name)
    if not isinstance(value, str) or not value:
        raise _invalid(name, value, "a string")
    return value


def _texts(properties: dict[str, Any], name: str) -> list[str]:
    values = properties.get(name, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _invalid(name, values, "a list of strings")
    return values


def _number(properties: dict[str, Any], name: str) -> int:
    text = _text(properties, name)
    if not text.isdecimal() or len(text) > _MOST_DIGITS:
        raise _invalid(name, text, "a whole number")
    return int(text)


def _base64(properties: dict[str, Any], name: str) -> str:
    text = _text(properties, name)
    try:
        return bundles.decoded(base64.b64decode(text, validate=True))
    except ValueError:
        raise _invalid(
            name, f"a string of {len(text)} characters", "a PEM file in base64 (`base64 -w0 ca.pem`)"
        ) from None


def _invalid(name: str, found: object, expected: str) -> InvalidSettingsError:
    return InvalidSettingsError(
        where=f"the custom resource's property {name}",
        found=repr(found) if found else "nothing",
        expected=expected,
        remedy="Correct the parameter in the template or the deploy command.",
    )
