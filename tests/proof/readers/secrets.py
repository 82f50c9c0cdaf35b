"""Secrets, as each of those who read them does: the functions, mtlsctl, the client library, its loopback sources."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from datetime import datetime
from random import Random
from typing import Any
from unittest.mock import patch

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa

from mtls_client import MtlsClientError, context_template, credential, loopback
from mtls_client import context as client_context
from mtls_client.source import SecretVersion
from mtls_rotation.aws.secret_versions import SecretVersion as StoredVersion
from mtls_rotation.contract import issuer, secret
from mtls_rotation.errors import MtlsRotationError
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import names, profile, request
from mtls_rotation.provers import registry
from mtls_rotation.rotation import value
from mtls_rotation.rotation.value import parse_value
from mtlsctl.stack import material
from tests.kit import builders
from tests.proof.readers import Reader, ca, client
from tests.proof.readers.bombs import CERTIFICATES, JSON, PEM, members, within
from tests.proof.readers.kinds import AGES, Drawn, bundle, in_some_order, of_an_age, text_of, written

_ARN = "arn:aws:acm-pca:eu-west-1:123456789012:certificate-authority/0f1e"


def readers() -> Iterator[Reader]:
    """See `Reader`."""
    issued = json.loads(builders.issued_value(builders.client_definition(endpoint=_endpoint()), client()))
    external = builders.client_definition(issuer={"type": "external", "ca_certificates": pki.to_pem(ca().certificate)})
    noticed = builders.ca_definition(notice_days=3, use_from="2026-12-01T00:00:00Z")
    bombs = {
        **JSON,
        **within(external, "issuer", "ca_certificates"),
        **within(issued, "endpoint", "server_ca"),
        **within(issued, "certificate"),
        **within(issued, "private_key"),
        **members(_everything(), "request", "common_name"),
        **members(_everything(), "request", "dns_names"),
        **members(_everything(), "request", "uris"),
        **members(_everything(), "request", "extended_key_usages"),
        **members(_everything(), "request", "validity_days"),
        **members(issued, "endpoint", "url"),
        **members(issued, "endpoint", "expected_status"),
        **members(issued, "request"),
        **members(issued, "issuer"),
        **members(noticed, "use_from"),
    }
    texts = [json.dumps(it).encode() for it in (_everything(), issued, external, noticed, *_definitions())]
    yield Reader(
        "managed secrets",
        _managed,
        texts,
        (secret, issuer, request, names, value, registry),
        (MtlsRotationError,),
        bombs,
        largest=1 << 20,
        draw=_of_an_outside_ca,
    )
    yield Reader(
        "managed secrets, in mtlsctl",
        _material,
        texts[:2],
        (material,),
        (MtlsRotationError, ValueError),
        bombs,
        1 << 20,
    )
    pems = {**PEM, **CERTIFICATES}
    parts = {f"{name}: {key}": it for name in _PARTS for key, it in within(issued, name, bombs=pems).items()}
    yield Reader(
        "secrets, in the client library",
        _credential,
        [texts[1], *_keys(issued)],
        (credential, client_context),
        (MtlsClientError,),
        {**JSON, **parts},
        largest=1 << 18,
        draw=_aged_secret,
    )
    answer = {"VersionId": "v1", "SecretString": "{}", "ARN": "arn"}
    yield Reader(
        "answers of the agent and the extension",
        _loopback,
        [json.dumps(answer).encode(), json.dumps(answer | {"SecretBinary": ""}).encode()],
        (loopback,),
        (MtlsClientError,),
        {**JSON, **members(answer, "VersionId"), **members(answer, "SecretString")},
        largest=1 << 19,
    )
    yield Reader(
        "certificates that were written here",
        lambda data: [pki.serial(it) for it in pki.from_pem(data.decode("utf-8", "surrogateescape"))],
        [pki.to_pem(client().certificate, ca().certificate).encode()],
        (pki,),
        (ValueError,),
        pems,
    )
    yield Reader(
        "private keys",
        lambda data: pki.key_from_pem(data.decode("utf-8", "surrogateescape")),
        [pki.key_to_pem(client().key).encode(), *_other_keys()],
        (pki,),
        (ValueError,),
        {**PEM, **{name: _as_key(it) for name, it in CERTIFICATES.items()}},
        largest=1 << 18,
    )
    yield Reader(
        "the server's CA, in the client library",
        lambda data: context_template.ContextTemplate(data.decode("utf-8", "surrogateescape")),
        [pki.to_pem(ca().certificate).encode()],
        (context_template, client_context),
        (MtlsClientError,),
        pems,
        largest=1 << 16,  # as much as a secret holds
        draw=bundle,
    )


_PARTS = ("certificate", "certificate_chain", "private_key")


def text(data: bytes) -> str:
    """What comes as a text: JSON may hold half a character, and other bytes are none."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


def _managed(data: bytes) -> None:
    read = parse_value(text(data), "secret mtls/billing")
    # What is read can be written, and is the same when it is read again.
    assert parse_value(read.render(), "again") == read
    # As the CA's issuer and finishSecret compare it.
    assert not read.use_from or datetime.fromisoformat(read.use_from).tzinfo is not None
    profile.subject(read.request)
    profile.alternative_names(read.request)
    profile.extended_key_usages(read.request)


def _material(data: bytes) -> None:
    stored = StoredVersion("arn", "mtls/billing", "v1", frozenset({"AWSCURRENT"}), text(data))
    held = material.read(stored)
    assert held.authorities


def _credential(data: bytes) -> None:
    read = credential.parse("mtls/billing", SecretVersion("v1", text(data)))
    import ssl

    client_context.load(read, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert read.expired(builders.NOW) or read.not_after > builders.NOW
    read.require_valid(builders.NOW)


def _aged_secret(random: Random) -> Drawn:
    """A secret whose certificate is of any age, with the CAs above it in any order."""
    age = random.choice(list(AGES))
    leaf = of_an_age(age, ca(), authority=False)
    above = [pki.to_pem(it) for it in in_some_order(random, [ca().certificate, *builders.authorities(1)])]
    parts = [written(random, [pki.to_pem(leaf.certificate)]), written(random, above)]
    document = {
        "certificate": text_of(parts[0]),
        "certificate_chain": text_of(parts[1]),
        "private_key": random.choice(("", "# key\n")) + pki.key_to_pem(leaf.key),
    }
    begins, ends = AGES[age]
    return Drawn(json.dumps(document).encode(), fit=all(it.fit for it in parts) and begins <= builders.NOW < ends)


def _of_an_outside_ca(random: Random) -> Drawn:
    """A definition whose CAs are of any age, as somebody has pasted them."""
    drawn = bundle(random)
    return Drawn(
        json.dumps(builders.client_definition(issuer={"type": "external", "ca_certificates": text_of(drawn)})).encode()
    )


def _loopback(data: bytes) -> None:
    class Connection:
        status = 200

        def __init__(self, *_: Any, **__: Any) -> None: ...
        def request(self, *_: Any, **__: Any) -> None: ...
        def close(self) -> None: ...
        def read(self, longest: int) -> bytes:
            return data[:longest]

        def getresponse(self) -> Connection:
            return self

    with patch.object(http.client, "HTTPConnection", Connection):
        source = loopback.AgentSource(token="t")
        source.current_version("mtls/billing")
        source.read("mtls/billing")


def _endpoint() -> dict[str, Any]:
    return {"url": "https://api.example/x", "expected_status": [200, 204], "server_ca": pki.to_pem(ca().certificate)}


def _everything() -> dict[str, Any]:
    wanted = {
        "common_name": "billing",
        "organization": "Bücher & Söhne",
        "organizational_unit": "a,b+c",
        "country": "DE",
        "state": "s",
        "locality": "l",
        "dns_names": ["a.example", "bücher.example"],
        "uris": ["spiffe://example.com/billing", "https://user@bücher.example:8/ä?ü#ö"],
        "emails": ["team@bücher.example"],
        "ip_addresses": ["192.0.2.1", "2001:db8::1"],
        "extended_key_usages": ["serverAuth", "1.2.3.4"],
        "key_algorithm": "RSA_2048",
        "validity_hours": 24,
    }
    return builders.client_definition(request=wanted, endpoint=_endpoint(), mine={"kept": [1, None]})


def _definitions() -> Iterator[dict[str, Any]]:
    yield builders.ca_definition(notice_days=3)
    yield builders.ca_definition(issuer={"type": "kms", "key_id": "alias/x"})
    yield builders.client_definition(issuer={"type": "kms", "ca_secret": "mtls/ca"})
    yield builders.client_definition(issuer={"type": "acm-pca", "certificate_authority_arn": _ARN})
    yield builders.client_definition(issuer={"type": "self-signed"}, trusted_by_gateway=False)


def _other_keys() -> list[bytes]:
    """Keys of kinds that are not ours, and encrypted ones."""
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    traditional = serialization.PrivateFormat.TraditionalOpenSSL
    return [
        pki.key_to_pem(rsa.generate_private_key(65537, 2048)).encode(),
        ec.generate_private_key(ec.SECP256R1()).private_bytes(pem, traditional, plain),
        *(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, how)
            for key in (ec.generate_private_key(ec.SECP521R1()), ed448.Ed448PrivateKey.generate())
            for how in (plain, serialization.BestAvailableEncryption(b"x"))
        ),
    ]


def _keys(issued: dict[str, Any]) -> list[bytes]:
    return [json.dumps(issued | {"private_key": it.decode()}).encode() for it in _other_keys()]


def _as_key(bomb: Any) -> Any:
    return lambda size: bomb(size).replace(b"CERTIFICATE", b"PRIVATE KEY")
