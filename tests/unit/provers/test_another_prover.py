"""A prover that nobody has heard of yet: its module and a line in the registry, and everything else takes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mtls_rotation.errors import HandshakeFailedError, InvalidSecretError
from mtls_rotation.pki.certificates import CertifiedKey, to_pem
from mtls_rotation.provers import registry
from mtls_rotation.rotation.request import Step
from mtls_rotation.rotation.value import parse_value
from mtlsctl.commands.verify import VerifyReport, choose_endpoint, judge
from mtlsctl.stack.material import Label, read
from mtlsctl.verification.evidence import gather
from tests.kit import builders
from tests.kit.stack import CLIENT, Stack
from tests.unit.provers.echo import START, EchoServer, echo_server

SERVERS = builders.server_certificate(builders.root("Server's CA"))


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.PROVERS, "echo", "tests.unit.provers.echo")


@pytest.fixture
def server(ca: CertifiedKey) -> Iterator[EchoServer]:
    with echo_server(SERVERS, ca) as server:
        yield server


def endpoint(server: EchoServer, **more: Any) -> dict[str, Any]:
    return {"url": server.url, "server_ca": to_pem(SERVERS.anchor), "word": "hello"} | more


def pending(stack: Stack, server: EchoServer) -> str:
    definition = builders.client_definition(endpoint=endpoint(server), trusted_by_gateway=False)
    stack.versions.put_current(CLIENT, "d" * 32, json.dumps(definition))
    token = stack.begin()
    stack.step(Step.CREATE, token)
    return token


def test_test_secret_proves_by_it(stack: Stack, server: EchoServer) -> None:
    token = pending(stack, server)
    stack.step(Step.TEST, token)

    assert server.begun == [START]
    assert stack.value(token)["endpoint"] == endpoint(server)


def test_test_secret_fails_where_it_is_refused(stack: Stack) -> None:
    with echo_server(SERVERS, builders.root("Another CA")) as server:
        token = pending(stack, server)
        with pytest.raises(HandshakeFailedError, match="refused it: tlsv1 alert unknown ca"):
            stack.step(Step.TEST, token, seconds=1)


def test_mtlsctl_verify_proves_by_it(stack: Stack, server: EchoServer) -> None:
    report = verified(stack, pending(stack, server))

    (check,) = [it for it in report.checks if it.name == f"request to {server.url}"]
    assert (check.result, check.reason) == ("ok", "accepted, the word hello (CN=server TLSv1.3)")
    assert report.endpoint
    assert report.endpoint.http_status is None


def verified(stack: Stack, token: str) -> VerifyReport:
    stored = stack.versions.version(CLIENT, token)
    assert stored
    material = read(stored)
    settings = choose_endpoint(material.secret, (None, None), {})
    deployment = SimpleNamespace(services=SimpleNamespace(bucket=stack.bucket))
    return judge(gather(cast("Any", deployment), material, Label.PENDING, settings))


@pytest.mark.parametrize(
    ("changes", "found", "expected"),
    [
        ({"word": None}, "endpoint.word = null", "valid string"),
        ({"expected_status": [200]}, "the unknown key endpoint.expected_status", "only keys"),
        ({"url": "https://a.example/"}, "the unknown key endpoint.word", "only keys"),
        ({"url": "smtp://a.example/"}, 'endpoint.url = "smtp://a.example/"', "echo URL such as https://"),
    ],
)
def test_what_is_wrong_with_it_is_refused_in_words(
    server: EchoServer, changes: dict[str, Any], found: str, expected: str
) -> None:
    definition = builders.client_definition(endpoint=endpoint(server, **changes))
    with pytest.raises(InvalidSecretError) as failure:
        parse_value(json.dumps(definition), "secret x")

    assert found in failure.value.found
    assert expected in failure.value.expected
