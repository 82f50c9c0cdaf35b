"""The gateway's own documents, and what its callers send: certificates, paths, queries and headers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from mtls_client import MtlsClientError
from mtls_client.errors import SecretUnavailableError
from mtls_rotation.aws.bucket import Stored
from mtls_rotation.contract.revocations import Revocations
from mtls_rotation.errors import InvalidSettingsError
from mtls_rotation.gateway import document, live_document
from mtls_rotation.gateway.authorizer import allow_list, anchors, caller, decision
from mtls_rotation.gateway.authorizer.allow_list import AllowList
from mtls_rotation.gateway.authorizer.caller import Caller
from mtls_rotation.gateway.proxy import fields, forwarding, headers, paths, routes
from mtls_rotation.gateway.proxy.forwarding import Forwarding, Incoming
from mtls_rotation.gateway.proxy.problems import NoAnswerError
from mtls_rotation.gateway.proxy.routes import RouteTable
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import der, distinguished_names, presented
from tests.kit import names as kit_names
from tests.kit import nasty, odd
from tests.proof.readers import Reader, ca, client
from tests.proof.readers.bombs import CERTIFICATES, JSON, PEM, Bombs, members, repeated, within
from tests.proof.readers.kinds import AGES, Drawn, aged, bundle, text_of
from tests.proof.readers.pem import odd_certificates

_ROUTE = ("routes", "billing")


def _trusting(random: Random) -> Drawn:
    """A route whose upstream has CAs of any age, as somebody has pasted them."""
    drawn = bundle(random)
    route = {"upstream": "https://a.example", "server_ca": text_of(drawn)}
    return Drawn(json.dumps({"routes": {"a": route}}).encode(), fit=drawn.fit)


def _of_any_age(random: Random) -> Drawn:
    """A caller's certificate as API Gateway has it."""
    return Drawn(pki.to_pem(aged(client().certificate, random.choice(list(AGES)), ca())).encode(), fit=True)


def readers() -> Iterator[Reader]:
    """See `Reader`."""
    table = _table()
    yield Reader(
        "the route table",
        lambda data: RouteTable.parse(data.decode("utf-8", "surrogateescape"), "parameter /mtls/routes"),
        [json.dumps(table).encode(), b'{"routes": {"a": {"upstream": "https://a.example"}}}'],
        (routes, document, paths, headers),
        (InvalidSettingsError,),
        {
            **JSON,
            **within(table, *_ROUTE, "server_ca", bombs={**PEM, **CERTIFICATES}),
            **members(table, *_ROUTE, "upstream"),
            **members(table, *_ROUTE, "methods"),
            **members(table, *_ROUTE, "timeout"),
            **members(table, *_ROUTE, "request_headers", "set"),
            **members(table, *_ROUTE, "request_headers", "drop"),
            **members(table, "routes"),
        },
        largest=1 << 20,
        draw=_trusting,
    )
    allowed = _allowed()
    yield Reader(
        "the allow-list",
        _allow,
        [json.dumps(allowed).encode(), json.dumps(allowed | {"otherwise": "allow"}).encode()],
        (allow_list, document),
        (InvalidSettingsError,),
        {
            **JSON,
            **members(allowed, "routes"),
            **members(allowed, "routes", "GET /"),
            **members(allowed, "otherwise"),
            **{f"subject: {name}": it for name, it in _subjects().items()},
            "a long route": lambda size: json.dumps({"routes": {"GET " + "/a" * (size // 2): ["*"]}}).encode(),
            "stars": lambda size: json.dumps({"routes": {"GET " + "/*" * (size // 2): ["*"]}}).encode(),
        },
        largest=1 << 20,
    )
    yield Reader(
        "documents as parameters of the template",
        lambda data: live_document.plain(data.decode("utf-8", "surrogateescape"), "the template's parameter AllowList"),
        [b'{"routes": {}}', b"eyJyb3V0ZXMiOiB7fX0="],
        (live_document,),
        (InvalidSettingsError,),
        {**JSON, **PEM},
    )
    yield Reader(
        "callers' certificates",
        _caller,
        [pki.to_pem(client().certificate).encode(), *odd_certificates(), *_oddly_named()],
        (caller, decision, allow_list, anchors, presented, der, distinguished_names),
        (),
        {**PEM, **CERTIFICATES},
        largest=1 << 20,
        draw=_of_any_age,
    )
    paths_bombs = {
        name: repeated(part, b"/proxy/billing/")
        for name, part in {
            "slashes": b"/",
            "points": b"../",
            "percents": b"%25",
            "percent": b"%",
            "encoded points": b"%2e",
            "semicolons": b";a",
            "letters": b"a",
            "blanks": b"%20",
        }.items()
    }
    yield Reader(
        "paths that callers ask for",
        _path,
        [it.encode() for it in ("/proxy/billing/v2/orders", *nasty.NASTY_PATHS, *(it for it, _ in nasty.ODD_PATHS))],
        (paths, forwarding, allow_list),
        (NoAnswerError,),
        {**paths_bombs, "one name": lambda size: b"/proxy/" + b"a" * size},
    )
    sent = _sent()
    yield Reader(
        "headers and queries that callers send",
        _forward,
        [json.dumps(sent).encode()],
        (headers, paths, forwarding),
        (NoAnswerError,),
        {
            **members(sent, "headers"),
            **members(sent, "headers", "Forwarded"),
            "many headers, all named": lambda size: json.dumps(sent | {"headers": _named(size)}).encode(),
            **{f"forwarded: {name}": it for name, it in _ways(sent).items()},
            "a long query": lambda size: json.dumps(sent | {"query": [["a", "é"]] * (size // 20)}).encode(),
            "a long value": lambda size: json.dumps(sent | {"query": [["a", "é" * (size // 6)]]}).encode(),
        },
        largest=1 << 20,
    )
    yield Reader(
        "headers that upstreams answer with",
        _answer,
        [b"Content-Type: text/plain\r\nVia: 1.1 a, 1.0 b\r\nConnection: x-a, close\r\nX-A: 1\r\nSet-Cookie: a=b"],
        (headers,),
        (),
        {
            "many headers, all named": lambda size: "\r\n".join(
                f"{name}: {it}" for name, values in _named(size).items() for it in values
            ).encode(),
            "one long via": lambda size: b"Via: " + b"1.1 a," * (size // 6),
            "one header": lambda size: b"a: b\r\n" * (size // 6),
        },
        largest=1 << 20,
    )


def _table() -> dict[str, Any]:
    policy = {"drop": ["x-internal"], "rename": {"x-a": "X-B"}, "set": {"x-key": "value"}}
    billing = {
        "upstream": "https://api.partner.example:8443/v2",
        "client_secret": "mtls/billing",
        "server_ca": pki.to_pem(ca().certificate),
        "methods": ["GET", "POST"],
        "connect_timeout": 2,
        "timeout": 9.5,
        "request_headers": policy,
        "response_headers": policy,
        "forwarded": True,
    }
    return {"routes": {"billing": billing}}


def _allowed() -> dict[str, Any]:
    bound = {"name": "subject:O = Example, CN = billing", "ca": ["managed", ":".join(["AB"] * 32)]}
    names = [
        bound,
        "subject:CN=billing,O=Example",
        "dns:A.example",
        "uri:spiffe://a/b",
        "email:a@b.example",
        "ip:192.0.2.1",
    ]
    return {"routes": {"GET /": ["*"], "* /proxy/billing/**": names, "POST /orders/*": ["*"]}, "otherwise": "deny"}


def _subjects() -> Bombs:
    def of(part: str, before: str = "subject:") -> Any:
        def made(size: int) -> bytes:
            return json.dumps({"routes": {"GET /": [before + part * (size // len(part))]}}).encode()

        return made

    return {
        "commas": of("CN=a,"),
        "pluses": of("+CN=a", "subject:CN=a"),
        "backslashes": of("\\"),
        "hex": of("61", "subject:CN=#0c"),
        "equals": of("="),
        "digits": of(".1", "subject:1.2"),
        "slashes": of("/CN=a", "subject:"),
        "slashes and no attribute": of("/1.1"),
        "lines": of("\nCN = a + O = b", "subject:"),
        "blanks in lines": of(" + a  ", "subject:\nCN = a"),
        "quotation marks": of('\\"', 'subject:CN="'),
        "octets": of("\\41", "subject:CN="),
        "blanks": of(" "),
    }


def _allow(data: bytes) -> None:
    read = AllowList.parse(data.decode("utf-8", "surrogateescape"), "the allow-list")
    read.allows(_who(), "GET", "/proxy/billing/%61", tuple)


@cache
def _who() -> Caller:
    return Caller.from_pem(pki.to_pem(client().certificate))


@cache
def _anchors() -> anchors.Anchors:
    stored = Stored(pki.to_pem(ca().certificate).encode(), "etag", "v1")
    bucket = SimpleNamespace(newer=lambda *_: stored, list=lambda _: (), uri=str)
    return anchors.Anchors(cast("Any", bucket))


def _oddly_named() -> Iterator[bytes]:
    organization = bytes([0x55, 4, 10])
    for value in ((kit_names.PRINTABLE, b"Marks & Sons"), (kit_names.TELETEX, b"M\xe4rks"), (kit_names.BMP, b"\0M\0")):
        subject = kit_names.name([[kit_names.attribute(organization, value)]])
        yield odd.named(ca(), subject).encode()


@cache
def _list() -> AllowList:
    return AllowList.parse(json.dumps(_allowed()), "the allow-list")


def _caller(data: bytes) -> None:
    pem = data.decode("utf-8", "surrogateescape")
    made = decision.decide(pem, "GET", "/", Revocations, _list, _anchors().of)
    answer = json.dumps(made.response("arn:aws:execute-api:x"))
    # API Gateway hands on no more.
    assert len(answer) < 16_384 * 2, f"an answer of {len(answer)} bytes"


@cache
def _forwarding() -> Forwarding:
    def no_certificate(_: str | None) -> Any:
        raise SecretUnavailableError(where="", found="", expected="", remedy="")

    assert issubclass(SecretUnavailableError, MtlsClientError)
    read = RouteTable.parse(json.dumps(_table()), "the route table")
    return Forwarding(lambda: read, no_certificate)


def _path(data: bytes) -> None:
    path = data.decode("utf-8", "surrogateescape")
    allow_list.segments(path)
    _list().allows(_who(), "GET", path, tuple)
    _send(Incoming("GET", path, (), {}, b"", "192.0.2.1", "api.example"))


def _send(request: Incoming) -> None:
    """As far as to a certificate, of which there is none; what would go out is looked at."""
    try:
        _forwarding().send(request, 5)
    except NoAnswerError as error:
        json.loads(error.problem.document("id"))
        if error.problem.code != "no-client-certificate":
            raise
    name, rest = paths.split(request.path)
    route = RouteTable.parse(json.dumps(_table()), "t").routes[name]
    target = paths.target(route.upstream, rest, request.query)
    assert target.startswith(b"/v2"), target
    assert target.isascii()
    assert not set(target) & set(b"\r\n \0"), target
    policy = route.request_headers
    for key, value in headers.outgoing(
        request.headers, policy, client=request.client, host=request.host, forwarded=True
    ):
        assert fields.is_name(key), key
        assert fields.is_value(value), value
        assert key.lower() not in fields.HOP_BY_HOP, key


def _sent() -> dict[str, Any]:
    fields = {
        "Host": ["api.example"],
        "Forwarded": ['for=192.0.2.1;by="[::1]:80"', "for=_hidden"],
        "Via": ["1.1 a, 1.0 b"],
        "Connection": ["close, X-Gone"],
        "X-Gone": ["1"],
        "Authorization": ["AWS4-HMAC-SHA256 x"],
        "X-Amzn-Trace-Id": ["Root=1"],
        "Content-Type": ["text/plain; charset=ü"],
    }
    return {
        "headers": fields,
        "query": [["a", "ü&="], ["X-Amz-Signature", "x"]],
        "client": "::1",
        "host": "api.example",
    }


def _forward(data: bytes) -> None:
    try:
        sent = json.loads(data)
        fields, query, client, host = sent["headers"], sent["query"], sent["client"], sent["host"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return
    if not _is_of_gateway(fields, query) or not isinstance(client, str) or not isinstance(host, str):
        return
    _send(Incoming("POST", "/proxy/billing/a", [tuple(it) for it in query], fields, b"x", client, host))


def _is_of_gateway(fields: Any, query: Any) -> bool:
    """Whether API Gateway could have sent it: its shape is the gateway's, what stands in it is the caller's."""
    return (
        isinstance(fields, dict)
        and all(isinstance(it, list) and all(isinstance(value, str) for value in it) for it in fields.values())
        and isinstance(query, list)
        and all(isinstance(it, list) and len(it) == 2 and all(isinstance(value, str) for value in it) for it in query)
    )


def _named(size: int) -> dict[str, list[str]]:
    """Many headers, each named by `Connection`."""
    names = [f"x-{number}" for number in range(size // 24)]
    return {"connection": [",".join(names)]} | {name: ["1"] for name in names}


def _ways(sent: dict[str, Any]) -> Bombs:
    parts = ('a="', 'a="\\', "a=b;", "a=b,", " ;", "a=b ; ", '"', "1.1 a, ", "a=" + "b", "=", ", ")

    def of(part: str) -> Any:
        def made(size: int) -> bytes:
            value = [part * (min(size, 4096) // len(part))]
            return json.dumps(sent | {"headers": {"Forwarded": value, "Via": value} | _named(size // 2)}).encode()

        return made

    return {part: of(part) for part in parts}


def _answer(data: bytes) -> None:
    received = [it.partition(": ")[::2] for it in data.decode("latin-1").split("\r\n")]
    policy = RouteTable.parse(json.dumps(_table()), "t").routes["billing"].response_headers
    for keeps_length in (True, False):
        for name, values in headers.incoming(received, policy, keeps_length=keeps_length).items():
            assert name.lower() not in fields.HOP_BY_HOP
            assert all(map(fields.is_value, values)), values
