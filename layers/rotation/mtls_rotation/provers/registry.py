"""Which provers there are. The one place that lists them; the module of each is imported when it is first asked for."""

from __future__ import annotations

import ipaddress
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from mtls_rotation.contract.explain import Problem, explain
from mtls_rotation.pki.names import dns_name

if TYPE_CHECKING:
    from mtls_rotation.contract.endpoint import Endpoint, EndpointSettings
    from mtls_rotation.provers.api import Identity, Proof, Prover
    from mtls_rotation.timing import Deadline

# The URL's scheme → the module whose `PROVER` it is.
PROVERS = {"https": "mtls_rotation.provers.https"}


def settings_of(endpoint: Endpoint, where: str) -> EndpointSettings:
    """What a secret's `endpoint` says, read by the prover that its URL names.

    Args:
        endpoint: as the operator wrote it.
        where: what to call the secret in an error.

    Raises:
        InvalidSecretError: no prover has the URL's scheme, or its prover does not understand the rest.
    """
    settings = _read(endpoint)
    if isinstance(settings, Problem):
        raise explain(settings, where)
    return settings


def prove(settings: EndpointSettings, identity: Identity, deadline: Deadline) -> Proof:
    """Present the certificate to the endpoint once, by the prover that its URL names."""
    return _prover(urlsplit(settings.url).scheme).prove(settings, identity, deadline)


def _read(endpoint: Endpoint) -> EndpointSettings | Problem:
    """The settings, or what is wrong. Raises nothing: an exception would hold what was written, maybe a private key."""
    try:
        kind: type[EndpointSettings] = _prover(_scheme(endpoint.url)).Settings
        return kind.model_validate(endpoint.model_dump())
    except ValidationError as error:
        return Problem.first_of(error, "endpoint")
    except ValueError as error:
        return Problem("value_error", ("endpoint", "url"), endpoint.url, "", {"error": error})


def _prover(scheme: str) -> Prover[Any]:
    found: Prover[Any] = import_module(PROVERS[scheme]).PROVER
    return found


def _scheme(url: str) -> str:
    """The scheme of a URL that can be proved at.

    Raises:
        ValueError: it is none; the text says what one would be.
    """
    *others, last = PROVERS
    schemes = f"{', '.join(others)} or {last}" if others else last
    expected = f"an {schemes} URL such as https://api.example.com/ with no user, password or fragment"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in PROVERS and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        raise ValueError(expected) from None
    if not usable or parts.username or parts.password or parts.fragment or not url.isascii() or " " in url:
        raise ValueError(expected)
    hostname = parts.hostname or ""
    try:
        ipaddress.ip_address(hostname)
    except ValueError:
        dns_name(hostname)
    return parts.scheme
