"""The AWS Workload Credentials Provider and the Lambda extension as sources, by the HTTP that their pages describe."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from mtls_client import (
    AgentSource,
    ClientCertificate,
    InvalidSecretError,
    LambdaExtensionSource,
    SecretUnavailableError,
    Source,
)
from mtls_rotation.pki.certificates import CertifiedKey
from tests.kit import builders
from tests.kit.serving import serving
from tests.unit.client.conftest import Clock, leaks, serial_of
from tests.unit.client.secrets_manager import SECRET, value_of
from tests.unit.client.server import PartnerApi

TOKEN = "a token that other machines cannot know"


class Cache(ThreadingHTTPServer):
    """Answers as both do: what GetSecretValue returns, from a cache that only `refreshNow` passes by."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.versions: list[str] = []
        self.cached: int | None = None
        self.asked: list[dict[str, str]] = []
        self.body: bytes | None = None

    @property
    def port(self) -> int:
        port: int = self.server_address[1]
        return port


class _Handler(BaseHTTPRequestHandler):
    server: Cache

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.server.asked.append(query)
        if self.headers["X-Aws-Parameters-Secrets-Token"] != TOKEN:
            self.send_error(403)
            return
        if url.path != "/secretsmanager/get" or query["secretId"] != SECRET:
            self.send_error(400)
            return
        if self.server.cached is None or query.get("refreshNow") == "true":
            self.server.cached = len(self.server.versions) - 1
        number = self.server.cached
        answer = {"Name": SECRET, "VersionId": f"{number:032d}", "SecretString": self.server.versions[number]}
        body = self.server.body or json.dumps(answer).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def cache() -> Iterator[Cache]:
    with serving(Cache()) as server:
        yield server


@pytest.fixture(params=["agent", "extension"])
def source(request: pytest.FixtureRequest, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # which must not be asked
    if request.param == "agent":
        return AgentSource(port=cache.port, token=TOKEN)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", str(cache.port))
    return LambdaExtensionSource()


@pytest.fixture
def certificate(source: Source, clock: Clock) -> ClientCertificate:
    return ClientCertificate(SECRET, source=source, background=False, clock=clock)


def test_the_certificate_is_read_and_a_new_one_taken_when_the_cache_has_it(
    certificate: ClientCertificate, cache: Cache, ca: CertifiedKey, clock: Clock
) -> None:
    first, second = builders.leaf(ca), builders.leaf(ca)
    cache.versions.append(value_of(first))
    assert certificate.credential().serial_number == serial_of(first)
    cache.versions.append(value_of(second))
    clock.advance(timedelta(minutes=10))
    assert certificate.credential().serial_number == serial_of(first)  # the cache's time is not over
    cache.cached = 1
    clock.advance(timedelta(minutes=10))
    assert certificate.credential().serial_number == serial_of(second)


def test_the_agents_cache_is_passed_by_where_a_server_refuses_the_certificate(
    cache: Cache, api: PartnerApi, ca: CertifiedKey, other_ca: CertifiedKey, clock: Clock
) -> None:
    cache.versions.append(value_of(builders.leaf(ca)))
    second = builders.leaf(other_ca)
    source = AgentSource(port=cache.port, token=TOKEN)
    certificate = ClientCertificate(SECRET, source=source, background=False, clock=clock)
    with certificate.httpx_client(base_url=api.url, server_ca=api.ca) as http:
        certificate.refresh()
        cache.versions.append(value_of(second))
        api.trust(other_ca.certificate)
        http.get("/").raise_for_status()
    assert [it.serial_number for it in api.received] == [serial_of(second)]
    assert [it.get("refreshNow") for it in cache.asked] == [None, "true", None]


def test_the_providers_cache_is_passed_by_where_the_user_asks(cache: Cache, ca: CertifiedKey, clock: Clock) -> None:
    cache.versions.append(value_of(builders.leaf(ca)))
    certificate = ClientCertificate(
        SECRET, source=AgentSource(port=cache.port, token=TOKEN), background=False, clock=clock
    )
    certificate.refresh()
    cache.versions.append(value_of(builders.leaf(ca)))
    assert certificate.refresh() is True


def test_no_name_is_asked_for_so_that_nobody_else_on_the_machine_gets_the_token(
    source: Source, cache: Cache, ca: CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    look_up = socket.getaddrinfo

    def watched(host: Any, *args: Any, **options: Any) -> Any:
        asked.append(host)
        return look_up(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", watched)
    cache.versions.append(value_of(builders.leaf(ca)))

    source.read(SECRET)

    assert set(asked) <= {"127.0.0.1"}
    assert len(cache.asked) == 1


@pytest.mark.parametrize("name", ["AWS_TOKEN", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"])
@pytest.mark.parametrize("in_a_file", [False, True])
def test_the_agents_token_is_looked_for_where_the_agent_does(
    name: str, in_a_file: bool, cache: Cache, ca: CertifiedKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in ("AWS_TOKEN", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"):
        monkeypatch.delenv(other, raising=False)
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    monkeypatch.setenv(name, f"file://{file}" if in_a_file else TOKEN)
    cache.versions.append(value_of(builders.leaf(ca)))
    assert AgentSource(port=cache.port).current_version(SECRET) == f"{0:032d}"


def test_a_wrong_token_a_wrong_port_and_a_missing_token_are_told(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_TOKEN", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SecretUnavailableError, match="status 403"):
        AgentSource(port=cache.port, token="another").read(SECRET)
    with pytest.raises(SecretUnavailableError, match=r"no answer at 127.0.0.1:1 \(ConnectionRefusedError\)"):
        AgentSource(port=1, token=TOKEN).read(SECRET)
    with pytest.raises(SecretUnavailableError, match="FileNotFoundError"):
        AgentSource(port=cache.port).read(SECRET)


@pytest.mark.parametrize("port", ["abc", "0", "65536", "-1", "2_773", "\u0662\u0667\u0667\u0663", "9" * 5000])
def test_a_port_that_is_none_is_told_by_its_variable(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", port)
    with pytest.raises(ValueError, match=r"PARAMETERS_SECRETS_EXTENSION_HTTP_PORT is .* it must be a port"):
        LambdaExtensionSource()


@pytest.mark.parametrize(
    "body", [b"gibberish", b"[]", b'{"SecretString": "x"}', b"[" * 100_000, b'{"VersionId": 5, "SecretString": "key"}']
)
def test_an_answer_that_is_none_is_told_without_being_quoted(
    body: bytes, certificate: ClientCertificate, cache: Cache, ca: CertifiedKey
) -> None:
    cache.versions.append(value_of(builders.leaf(ca)))
    cache.body = body
    with pytest.raises(SecretUnavailableError, match="no JSON object with a VersionId") as raised:
        certificate.credential()
    assert body.decode()[:30] not in str(raised.value)


def test_a_binary_value_is_told(certificate: ClientCertificate, cache: Cache, ca: CertifiedKey) -> None:
    cache.versions.append("")
    cache.body = json.dumps({"VersionId": "0" * 32, "SecretBinary": "AA=="}).encode()
    with pytest.raises(InvalidSecretError, match="a binary value"):
        certificate.credential()


def test_no_error_holds_the_key(certificate: ClientCertificate, cache: Cache, ca: CertifiedKey) -> None:
    value = value_of(builders.leaf(ca))
    cache.versions.append(value)
    cache.body = value.encode()  # the secret in place of the answer
    with pytest.raises(SecretUnavailableError) as raised:
        certificate.credential()
    assert not leaks(raised.value, value)
