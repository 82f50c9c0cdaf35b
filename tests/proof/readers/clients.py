"""What the client library reads besides: answers that may be refusals, redirects, CAs for a context, variables."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from random import Random
from typing import Any, cast
from unittest.mock import patch

import httpx
from yarl import URL

from mtls_client import (
    LambdaExtensionSource,
    MtlsClientError,
    RefusedRedirectError,
    context_template,
    denial,
    httpx_transport,
    living_context,
    loopback,
    redirects,
    requests_adapter,
    trusted_certificates,
)
from mtls_client.denial import Answered
from mtls_client.httpx_transport import followed
from mtls_client.living_context import LivingContext
from mtls_client.redirects import Redirects, origin_of
from mtls_rotation.pki import certificates as pki
from tests.proof.readers import Reader, ca
from tests.proof.readers.bombs import CERTIFICATES, JSON, PEM, members
from tests.proof.readers.kinds import Drawn, bundle

_HERE, _NAMED = "https://api.partner.example", "https://files.partner.example:8443"


def readers() -> Iterator[Reader]:
    """See `Reader`."""
    denied = {"status": 403, "fields": {"Content-Type": "application/problem+json", "Content-Length": "60"}}
    denied |= {"body": json.dumps({"type": denial.DENIED})}
    gateways = {"status": 403, "fields": {"x-amzn-errortype": "ForbiddenException:http://a"}, "body": ""}
    yield Reader(
        "answers that may be refusals, in the client library",
        _answer,
        [json.dumps(denied).encode(), json.dumps(gateways).encode()],
        (denial,),
        (),
        {**JSON, **members(denied, "body"), **members(denied, "fields"), **members(denied, "fields", "Content-Length")},
        largest=1 << 18,
    )
    yield Reader(
        "redirects, in the client library",
        _redirected,
        [it.encode() for it in _LOCATIONS],
        (redirects, httpx_transport, requests_adapter),
        (RefusedRedirectError, _NotFollowedError),
        {
            "slashes": lambda size: b"https:" + b"/" * size,
            "at signs": lambda size: b"https://" + b"@" * size,
            "labels": lambda size: b"https://" + b"a." * (size // 2),
            "ports": lambda size: b"https://a:" + b"9" * size,
            "brackets": lambda size: b"https://" + b"[" * size,
        },
        largest=1 << 17,
        draw=_location,
    )
    yield Reader(
        "CAs that a context is given, in the client library",
        _trusted,
        [pki.to_pem(ca().certificate).encode()],
        (living_context, trusted_certificates),
        (ValueError, TypeError, ssl.SSLError),  # as `ssl` has them
        {**PEM, **CERTIFICATES},
        largest=1 << 16,
        draw=bundle,
    )
    environment = {"AWS_TOKEN": "a token", "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": "2773"}
    yield Reader(
        "the environment, in the client library",
        _environment,
        [json.dumps(it).encode() for it in (environment, {"AWS_TOKEN": "file:///proc/self/fd/0"}, {})],
        (loopback,),
        (MtlsClientError, ValueError),
        {**members(environment, "AWS_TOKEN"), **members(environment, "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT")},
        largest=1 << 16,
        draw=_variables,
    )


def _trusted(data: bytes) -> None:
    template = context_template.ContextTemplate(pki.to_pem(ca().certificate))
    context = LivingContext.made(cast("Any", None), template, pki.to_pem(ca().certificate), None)
    context.load_verify_locations(cadata=data.decode("utf-8", "surrogateescape"))


# answers --------------------------------------------------------------------------------------------------------------


def _answer(data: bytes) -> None:
    """As every library's transport looks at it: a body is read only where it is short."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("fields"), dict):
        return
    fields = httpx.Headers(
        {str(name): str(value) for name, value in document["fields"].items() if _is_field(name, value)}
    )
    body, status = str(document.get("body")).encode("utf-8", "replace"), document.get("status")
    for method in ("GET", "head"):
        answered = Answered("https://a", method, {}, status if isinstance(status, int) else 403, fields, "v1")
        said = answered.is_api_gateways_own or (answered.has_problem and denial.is_denial(answered, body))
        assert isinstance(said, bool)
        assert not (said and answered.status != denial.FORBIDDEN)
        length = fields.get("content-length", "")
        assert not answered.has_problem or int(length) <= denial.LONGEST


def _is_field(name: object, value: object) -> bool:
    return f"{name}{value}".isascii()


# redirects ------------------------------------------------------------------------------------------------------------

_LOCATIONS = (
    *(
        "/orders",
        "",
        "?a",
        "//api.partner.example/x",
        "https://api.partner.example/",
        "https://API.partner.example:443/",
    ),
    *("http://api.partner.example/", "https://api.partner.example:8443/", "https://files.partner.example:8443/x"),
    *("https://api.partner.example@evil.example/", "https://evil.example#@api.partner.example/", "//evil.example/"),
    *(
        "https://api.partner.example.evil.example",
        "https://api.partner.example.",
        "https://evil.example\\@api.partner.example",
    ),
    *("https:evil.example", "https:///evil.example", "\thttps://evil.example", "https://[::1]/", "https://127.0.0.1/"),
    *(
        "HTTPS://api.partner.example:0443",
        "https://b\xfccher.example/",
        "https://xn--bcher-kva.example/",
        "javascript:x",
    ),
    *("https://api.partner.example%2eevil.example/", "https://api.partner.example%00.evil.example/", "https://a:b/"),
)
_HOSTS = ("api.partner.example", "files.partner.example", "evil.example", "127.0.0.1", "[::1]", "b\xfccher.example", "")
_BETWEEN = ("", "@", "\\", "/", "#", "?", "%40", ".", ":", ";", "\t", " ", "%2e", "\uff0e", "\u3002")


class _NotFollowedError(Exception):
    """The library itself does not follow."""


def _location(random: Random) -> Drawn:
    """A Location: a scheme, hosts with what may part them, a port, a path; or a short one."""
    scheme = random.choice(("https://", "https://", "http://", "//", "HTTPS://", "https:", "https:/", "", "wss://"))
    host = "".join(it for _ in range(random.randrange(1, 3)) for it in (random.choice(_HOSTS), random.choice(_BETWEEN)))
    port = random.choice(("", "", ":443", ":8443", ":80", ":0443", ":", ":99999", ":-1", ":\u0661"))
    return Drawn(f"{scheme}{host}{port}{random.choice(('', '/', '/x', '?x', '#x'))}".encode())


@cache
def _client() -> httpx.Client:
    return httpx.Client()


def _redirected(data: bytes) -> None:
    """As httpx and aiohttp follow: what is connected to with the certificate is an origin that is meant."""
    location = data.decode("utf-8", "replace")
    meant = {("https", "api.partner.example", 443), ("https", "files.partner.example", 8443)}
    chosen = Redirects([_NAMED])
    client = _client()
    first = client.build_request("GET", _HERE)
    followed(chosen, first)
    following = None
    with suppress(httpx.HTTPError, httpx.InvalidURL, ValueError):  # what httpx cannot read it does not follow
        answer = httpx.Response(302, headers=[(b"Location", data)], request=first)
        following = client._build_redirect_request(first, answer)
    if following is not None:
        found = followed(chosen, following)
        # What httpx connects to.
        to = (following.url.scheme.replace("wss", "https"), following.url.raw_host.decode(), following.url.port or 443)
        assert not found.presents or to in meant, f"the certificate goes to {to} by {location!r}"
    try:
        url = URL(location)
        url = url if url.absolute else URL(_HERE).join(url)
        origin = origin_of(url.scheme, url.raw_host or "", url.port)
        to = (url.scheme.replace("wss", "https"), url.raw_host or "", url.port or 443)
    except (ValueError, IndexError):  # likewise yarl, which reads for aiohttp
        if following is None:
            raise _NotFollowedError from None
        return
    hop = chosen.follow(chosen.follow(None, _HERE, has_body=False), origin, has_body=False)
    assert not hop.presents or to in meant, f"the certificate goes to {to} by {location!r}"
    chosen.follow(hop, origin, has_body=True)


# the environment ------------------------------------------------------------------------------------------------------


_VALUES = (
    *("a token", "", " ", "a\nb", "\u7d42", "file://", "file:///", "file:///dev/null", "file:///none", "file://a\x00"),
    *(
        "file:///proc/self/mem",
        "file:///proc/self/cmdline",
        "2773",
        "0",
        "-1",
        "65536",
        "99999999999",
        "0x1",
        "\u0661",
        "1e3",
    ),
)


def _variables(random: Random) -> Drawn:
    """Some variables, each with something."""
    names = ("AWS_TOKEN", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN", _PORT)
    some = random.sample(names, random.randrange(len(names) + 1))
    return Drawn(json.dumps({name: random.choice(_VALUES) for name in some}).encode())


_PORT = "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT"


def _environment(data: bytes) -> None:
    """Each source with these variables, and nobody at the other end."""
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(given, dict):
        return
    texts = {
        key: it for key, it in given.items() if isinstance(it, str) and "\0" not in f"{key}{it}" and "=" not in key
    }
    texts = {key: it for key, it in texts.items() if key and _encodes(key + it)}
    with patch.dict(os.environ, texts, clear=True):
        problem: Exception | None = None
        for make in (lambda: loopback.AgentSource(port=1), LambdaExtensionSource):
            try:
                make().read("mtls/billing")
            except MtlsClientError as error:
                problem = error
        if problem:
            raise problem


def _encodes(text: str) -> bool:
    with suppress(UnicodeEncodeError):
        return bool(os.fsencode(text))
    return False
