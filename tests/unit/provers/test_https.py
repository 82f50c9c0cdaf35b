"""How a real request ends, by who ended it: every outcome from a server of its kind."""

from __future__ import annotations

import itertools
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from mtls_rotation.pki.certificates import CertifiedKey, key_to_pem, serial, to_pem
from mtls_rotation.provers.api import Identity, Outcome, Proof
from mtls_rotation.provers.https import PROVER, HttpsSettings
from mtls_rotation.timing import Deadline
from tests.kit import builders
from tests.kit.post_handshake import post_handshake_server
from tests.kit.upstream import Received, Upstream, answer, upstream

SERVERS_CA = builders.root("Server's CA")


@pytest.fixture(scope="module")
def authority() -> CertifiedKey:
    return builders.root()


@pytest.fixture(scope="module")
def client(authority: CertifiedKey) -> CertifiedKey:
    return builders.leaf(authority)


@pytest.fixture
def server(authority: CertifiedKey) -> Iterator[Upstream]:
    with upstream(builders.server_certificate(SERVERS_CA)) as server:
        server.trust(authority.certificate)
        yield server


def ask(
    url: str,
    client: CertifiedKey,
    server_ca: CertifiedKey | None = SERVERS_CA,
    expected: tuple[int, ...] = (200,),
) -> Proof:
    trusted = to_pem(server_ca.certificate) if server_ca else None
    settings = HttpsSettings(url=url, server_ca=trusted, expected_status=expected)
    return present(settings, to_pem(client.certificate), key_to_pem(client.key))


def present(settings: HttpsSettings, certificate: str, key: str) -> Proof:
    return PROVER.prove(settings, Identity(certificate, key), Deadline.within(20))


def test_a_servers_ca_may_stand_below_a_comment_in_any_language(server: Upstream, client: CertifiedKey) -> None:
    commented = f"# F\u0151tan\xfas\xedtv\xe1ny\n{to_pem(SERVERS_CA.certificate)}"
    settings = HttpsSettings(url=server.url, server_ca=commented, expected_status=(200,))

    assert present(settings, to_pem(client.certificate), key_to_pem(client.key)).outcome is Outcome.ANSWERED


def test_a_server_may_ask_for_the_certificate_when_it_has_read_the_request(
    authority: CertifiedKey, client: CertifiedKey
) -> None:
    with post_handshake_server(builders.server_certificate(SERVERS_CA), authority.certificate) as server:
        proof = ask(server.url, client)

        assert (proof.outcome, proof.http_status) == (Outcome.ANSWERED, 200)
        assert server.received == [serial(client.certificate)]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_answer_tells_the_status_and_whom_it_came_from(
    server: Upstream, client: CertifiedKey, authority: CertifiedKey, version: ssl.TLSVersion
) -> None:
    server.tls, server.answering = version, answer("404 Not Found")
    server.trust(authority.certificate)

    result = ask(f"{server.url}/a/b?c=d", client)

    assert (result.outcome, result.http_status, result.server_subject) == (Outcome.ANSWERED, 404, "CN=server")
    assert (result.answer, result.accepted) == ("HTTP status 404", False)
    assert result.tls_version == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
    (received,) = server.received
    assert (received.target, received.all("host")) == ("/a/b?c=d", [server.url.removeprefix("https://")])


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("", "/"),
        ("?deep", "/?deep"),
        ('/health?filter={"a":"b|c"}', "/health?filter=%7B%22a%22:%22b%7Cc%22%7D"),
        ("/v1/../health", "/health"),
        ("/%7Ea%2Fb", "/%7Ea%2Fb"),
    ],
)
def test_the_url_is_asked_for_as_rfc_3986_has_it(
    server: Upstream, client: CertifiedKey, authority: CertifiedKey, written: str, target: str
) -> None:
    server.trust(authority.certificate)
    server_name = server.url.removeprefix("https://")

    result = ask(f"https://@{server_name}{written}", client)

    assert result.accepted
    (received,) = server.received
    assert (received.target, received.all("host")) == (target, [server_name])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_refusal_is_heard_whenever_it_comes(server: Upstream, client: CertifiedKey, version: ssl.TLSVersion) -> None:
    server.tls = version
    server.trust()

    result = ask(server.url, client)

    assert (result.outcome, result.problem) == (Outcome.REFUSED, "tlsv1 alert unknown ca")


@pytest.mark.parametrize("status", ["403 Forbidden", "401 Unauthorized", "200 OK"])
def test_api_gateways_refusal_proves_nothing_whatever_status_is_expected(
    server: Upstream, client: CertifiedKey, status: str
) -> None:
    error = ("x-amzn-ErrorType", "ForbiddenException")
    server.answering = answer(status, error, body=b'{"message":"Forbidden"}')

    result = ask(server.url, client, expected=(200, 401, 403))

    assert (result.outcome, result.accepted) == (Outcome.REFUSED, False)
    assert result.problem.startswith(f"HTTP status {status[:3]} with ForbiddenException")
    assert (result.http_status, result.server_subject) == (int(status[:3]), "CN=server")


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("x-amzn-ErrorType", "AccessDeniedException"),),
        (("x-amzn-ErrorType", "MissingAuthenticationTokenException"),),
    ],
)
def test_a_403_by_the_api_behind_proves_the_handshake_where_it_is_expected(
    server: Upstream, client: CertifiedKey, headers: tuple[tuple[str, str], ...]
) -> None:
    server.answering = answer("403 Forbidden", *headers)

    assert ask(server.url, client, expected=(403,)).accepted
    result = ask(server.url, client)
    assert (result.outcome, result.accepted) == (Outcome.ANSWERED, False)


def test_a_strangers_server_is_never_shown_the_certificate(server: Upstream, client: CertifiedKey) -> None:
    result = ask(server.url, client, builders.root("Another CA"))

    assert result.outcome is Outcome.UNTRUSTED
    assert "unable to get local issuer certificate" in result.problem
    assert (result.server_subject, server.received) == ("CN=server", [])


def test_an_end_without_a_word_is_told_from_a_refusal(server: Upstream, client: CertifiedKey) -> None:
    server.answering = lambda _: b""

    assert ask(server.url, client).outcome is Outcome.CLOSED


def test_what_is_no_http_and_what_is_no_tls_tell_nothing(server: Upstream, client: CertifiedKey) -> None:
    server.answering = lambda _: b"220 mail.example ESMTP\r\n\r\n"
    assert ask(server.url, client).outcome is Outcome.BROKEN

    with plain_server(lambda it: it.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as url:
        assert ask(url, client).outcome is Outcome.BROKEN


def test_a_closed_port_and_a_name_that_is_none_are_out_of_reach(client: CertifiedKey) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    result = ask(f"https://127.0.0.1:{port}/", client)

    assert (result.outcome, result.problem) == (Outcome.UNREACHABLE, "Connection refused")


def test_a_key_that_is_not_the_certificates_reaches_no_server(client: CertifiedKey) -> None:
    result = present(
        HttpsSettings(url="https://127.0.0.1:9/"), to_pem(client.certificate), key_to_pem(builders.root().key)
    )

    assert result.outcome is Outcome.BROKEN
    assert "PRIVATE KEY" not in result.problem


@contextmanager
def plain_server(talk: Callable[[socket.socket], object]) -> Iterator[str]:
    """A server without TLS, for one connection."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            talk(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join()


def test_no_more_of_an_answer_is_read_than_its_head(server: Upstream, client: CertifiedKey) -> None:
    """What a body would unpack to must not decide how much memory a step takes."""
    sent: list[int] = []

    def endless(_: Received) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        while True:
            sent.append(65_536)
            yield b"10000\r\n" + bytes(65_536) + b"\r\n"

    server.streaming = endless
    tracemalloc.start()
    try:
        result = ask(server.url, client)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (result.http_status, result.accepted) == (200, True)
    assert peak < 4 << 20


@pytest.mark.parametrize(
    "piece",
    [b"X-Filler: " + b"a" * 4000 + b"\r\n", b"a" * 4000, b"Link: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\n"],
    ids=["headers without end", "a header without end", "interim answers without end"],
)
def test_a_head_without_end_is_given_up_after_a_bound(server: Upstream, client: CertifiedKey, piece: bytes) -> None:
    server.streaming = lambda _: itertools.chain([b"HTTP/1.1 103 Early Hints\r\n"], itertools.repeat(piece))

    result = ask(server.url, client)

    assert result.outcome is Outcome.BROKEN
    assert "65536 bytes" in result.problem


def test_a_head_that_trickles_in_is_given_up_after_a_time(
    server: Upstream, client: CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes in good time, and the whole of them would take the step's."""
    monkeypatch.setattr("mtls_rotation.provers.https.READ_TIMEOUT", 0.3)
    ended = threading.Event()

    def trickle(_: Received) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nX-Filler: "
        while not ended.wait(0.02):
            yield b"a"

    server.streaming = trickle
    try:
        result = ask(server.url, client)
    finally:
        ended.set()

    assert (result.outcome, result.problem) == (Outcome.BROKEN, "no answer in time")


def test_an_interim_answer_is_passed_over(server: Upstream, client: CertifiedKey) -> None:
    server.answering = lambda it: b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer("204 No Content")(it)

    assert ask(server.url, client, expected=(204,)).accepted


def test_the_addresses_of_a_name_share_the_time_to_connect(
    client: CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever answers for a name may give it any number of addresses at which nobody answers."""
    tried: list[str] = []

    def connect(_: socket.socket, address: tuple[str, int]) -> None:
        tried.append(address[0])
        time.sleep(0.1)
        raise TimeoutError

    many = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"192.0.2.{it}", 443)) for it in range(250)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: many)
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr("mtls_rotation.provers.handshake.CONNECT_TIMEOUT", 0.25)

    result = ask("https://api.example.com/", client)

    assert (result.outcome, len(tried)) == (Outcome.UNREACHABLE, 3)
