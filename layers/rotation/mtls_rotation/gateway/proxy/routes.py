"""The route table: which name stands for which upstream, and how it is called. Calls nothing.

{"routes": {"billing": {"upstream": "https://api.partner.example/v2", "client_secret": "mtls/billing"}}}
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from cryptography import x509
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mtls_rotation.gateway.document import OperatorsDocument
from mtls_rotation.gateway.proxy.fields import GATEWAYS_OWN, HOP_BY_HOP, folded, is_name, is_value
from mtls_rotation.gateway.proxy.paths import is_plain

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# API Gateway waits no longer for a function: https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
_LONGEST = 28.0
_ROUTE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")


def _name(text: str) -> str:
    if not _ROUTE.fullmatch(text):
        raise ValueError("a route's name of letters, digits, '-' and '_', such as billing")
    return text


def _upstream(text: str) -> str:
    expected = "an https URL with a host and perhaps a port and a path, such as https://api.partner.example/v2"
    try:
        parts = urlsplit(text)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError(expected) from None
    unwanted = parts.username or parts.password or parts.query or parts.fragment or "@" in parts.netloc
    host = parts.hostname or ""
    if parts.scheme != "https" or unwanted or not port_fits or not _HOST.fullmatch(host) or not is_plain(parts.path):
        raise ValueError(expected)
    if text.endswith(("?", "#")):
        raise ValueError(expected)
    return text.rstrip("/")


def _method(text: str) -> str:
    if text not in METHODS:
        raise ValueError(f"one of {', '.join(METHODS)}")
    return text


def _header(text: str) -> str:
    if not is_name(text):
        raise ValueError("a header's name (RFC 9110, section 5.1)")
    if folded(text) in HOP_BY_HOP | GATEWAYS_OWN:
        raise ValueError(f"another header than {text}, which the gateway sees to itself")
    return text


def _value(text: str) -> str:
    if not is_value(text):
        raise ValueError("a header's value, without line breaks and other control characters (RFC 9110, section 5.5)")
    return text


def _pem(text: str) -> str:
    try:
        found = x509.load_pem_x509_certificates(text.encode())
    except (ValueError, x509.InvalidVersion):
        found = []
    if not found:
        raise ValueError("the PEM of one CA certificate or more")
    return text


HeaderName = Annotated[str, AfterValidator(_header)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class HeaderPolicy(_Strict):
    """What becomes of headers, after those that a proxy never passes on are gone: dropped, then renamed, then set."""

    drop: tuple[HeaderName, ...] = ()
    rename: dict[HeaderName, HeaderName] = {}
    set: dict[HeaderName, Annotated[str, AfterValidator(_value)]] = {}


class Route(_Strict):
    """How an upstream is called.

    Attributes:
        upstream: https URL that the rest of the path is put behind.
        client_secret: name or ARN of the client secret; the stack's own when absent.
        server_ca: PEM of the CAs that the upstream's certificate may chain to; the public ones when absent.
        methods: what may be asked for.
        connect_timeout: seconds for the connection with its handshake.
        timeout: seconds for the whole request.
        request_headers: what becomes of the headers on their way to the upstream.
        response_headers: and on their way back.
        forwarded: whether the upstream is told who asked (`Forwarded`, RFC 7239).
    """

    upstream: Annotated[str, AfterValidator(_upstream)]
    client_secret: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    server_ca: Annotated[str, AfterValidator(_pem)] | None = None
    methods: Annotated[tuple[Annotated[str, AfterValidator(_method)], ...], Field(min_length=1)] = METHODS
    connect_timeout: Annotated[float, Field(gt=0, le=_LONGEST)] = 5.0
    timeout: Annotated[float, Field(gt=0, le=_LONGEST)] = 25.0
    request_headers: HeaderPolicy = HeaderPolicy()
    response_headers: HeaderPolicy = HeaderPolicy()
    forwarded: bool = True


class RouteTable(OperatorsDocument):
    """The upstreams, by the name in the path."""

    called = "route table"

    routes: Annotated[dict[Annotated[str, AfterValidator(_name)], Route], Field(min_length=1)]
