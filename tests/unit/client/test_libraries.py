"""What the client promises, with every library that it serves, over real TLS."""

from __future__ import annotations

import gc
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import urllib3

from demo.waiting import await_condition
from mtls_client import ClientCertificate, ExpiredCertificateError, InvalidServerCaError
from mtls_client.refusal import refusal_in
from mtls_rotation.pki.certificates import CertifiedKey, to_pem
from tests.kit import builders
from tests.kit.identity import in_memory
from tests.kit.post_handshake import post_handshake_server
from tests.unit.client.conftest import Clock, leaks, serial_of
from tests.unit.client.libraries import FAILURES, POOLING, HttpClient, Library, opened
from tests.unit.client.secrets_manager import SecretsManager, throttled, value_of
from tests.unit.client.server import PartnerApi

EVERY = pytest.mark.parametrize("name", POOLING)
TLS = pytest.mark.parametrize("tls", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])


@pytest.fixture
def library(name: str, certificate: ClientCertificate, api: PartnerApi) -> Iterator[Library]:
    with opened(name, certificate, api.url, api.ca) as it:
        yield it


def serials(api: PartnerApi) -> list[str]:
    return [received.serial_number for received in api.received]


@EVERY
def test_new_requests_use_the_newest_and_the_connections_of_the_former_are_closed(
    library: Library,
    api: PartnerApi,
    certificate: ClientCertificate,
    secrets: SecretsManager,
    first: CertifiedKey,
    ca: CertifiedKey,
) -> None:
    second = builders.leaf(ca)
    for _ in range(2):
        library.request("GET", "/")
    secrets.rotate(value_of(second))
    certificate.refresh()
    for _ in range(2):
        library.request("GET", "/")

    assert serials(api) == [serial_of(first)] * 2 + [serial_of(second)] * 2
    assert api.handshakes == 2  # a connection is used again as long as its certificate is the newest
    assert api.await_closed(serial_of(first))


@EVERY
def test_what_is_under_way_ends_on_the_connection_that_it_began_on(
    library: Library,
    api: PartnerApi,
    certificate: ClientCertificate,
    secrets: SecretsManager,
    first: CertifiedKey,
    ca: CertifiedKey,
) -> None:
    second = builders.leaf(ca)
    rest = library.begin("/stream")
    secrets.rotate(value_of(second))
    certificate.refresh()
    library.request("GET", "/")
    assert api.connections[serial_of(first)] == 1
    api.gate.set()
    assert rest() == b"second"
    assert serials(api) == [serial_of(first), serial_of(second)]
    assert api.await_closed(serial_of(first))


@EVERY
def test_many_requests_through_many_rotations_none_fails_and_none_goes_back(
    library: Library,
    api: PartnerApi,
    certificate: ClientCertificate,
    secrets: SecretsManager,
    first: CertifiedKey,
    ca: CertifiedKey,
) -> None:
    order = {serial_of(first): 0}
    library.request("POST", "/", b"0")
    with ThreadPoolExecutor(4) as pool:
        for number in range(1, 6):
            under_way = [pool.submit(library.request, "POST", f"/{number - 1}", b"x" * 1000) for _ in range(12)]
            following = builders.leaf(ca)
            order[serial_of(following)] = number
            secrets.rotate(value_of(following))
            certificate.refresh()
            assert [it.result() for it in under_way] == [b"x" * 1000] * 12
    assert all(order[it.serial_number] >= int(it.path[1:] or 0) for it in api.received)
    library.request("GET", "/5")
    assert api.received[-1].serial_number == list(order)[-1]
    assert all(api.await_closed(serial_number) for serial_number in list(order)[:-1])


@EVERY
@TLS
class TestARefusedHandshake:
    @pytest.fixture(autouse=True)
    def _tls(self, api: PartnerApi, tls: ssl.TLSVersion) -> None:
        api.tls = tls

    @pytest.fixture
    def second(self, other_ca: CertifiedKey) -> CertifiedKey:
        return builders.leaf(other_ca)

    @pytest.fixture
    def _refused(
        self, certificate: ClientCertificate, api: PartnerApi, first: CertifiedKey, other_ca: CertifiedKey
    ) -> None:
        """The first certificate is in use, no check is due, and the server trusts the other CA alone."""
        certificate.refresh()
        api.trust(other_ca.certificate)

    @pytest.mark.usefixtures("_refused")
    @pytest.mark.parametrize("size", [0, 10, 1_000_000])
    def test_is_recovered_from_within_one_request_with_its_body_intact(
        self,
        size: int,
        library: Library,
        api: PartnerApi,
        secrets: SecretsManager,
        second: CertifiedKey,
    ) -> None:
        secrets.rotate(value_of(second))
        body = os.urandom(size)
        assert library.request("POST", "/order", body) == body

        (received,) = api.received
        assert (received.path, received.body) == ("/order", body)
        assert received.serial_number == serial_of(second)
        assert secrets.calls == {"GetSecretValue": 2, "DescribeSecret": 1}

    @pytest.mark.usefixtures("_refused")
    def test_without_a_newer_version_is_the_requests_own_error(
        self, library: Library, api: PartnerApi, secrets: SecretsManager, first: CertifiedKey
    ) -> None:
        for _ in range(3):
            with pytest.raises(FAILURES, match=r"(?i)alert.unknown.ca") as raised:
                library.request("DELETE", "/order")
            assert "there is no newer one" in "".join(raised.value.__notes__)
            assert not leaks(raised.value, value_of(first))
        assert not api.received
        assert secrets.calls["DescribeSecret"] == 1  # a server that refuses everybody must not cause a storm of calls

    @pytest.mark.usefixtures("_refused")
    def test_of_a_body_that_can_be_read_once_does_not_send_half_of_it(
        self, library: Library, api: PartnerApi, secrets: SecretsManager, second: CertifiedKey, tls: ssl.TLSVersion
    ) -> None:
        secrets.rotate(value_of(second))
        sent = [b"on", b"ce"]
        try:
            library.send_once("/", iter(sent))
        except FAILURES:
            assert not api.received
        library.request("GET", "/")  # the newer one is in use all the same
        assert [it.body for it in api.received] in ([b"once", b""], [b""])

    @pytest.mark.usefixtures("_refused")
    def test_by_many_at_once_costs_one_check(
        self, library: Library, api: PartnerApi, secrets: SecretsManager, second: CertifiedKey
    ) -> None:
        secrets.rotate(value_of(second))
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda number: library.request("DELETE", f"/{number}"), range(6)))
        assert sorted(it.path for it in api.received) == [f"/{number}" for number in range(6)]
        assert secrets.calls == {"GetSecretValue": 2, "DescribeSecret": 1}


@EVERY
def test_expired_and_without_a_successor_it_is_not_presented(
    library: Library, api: PartnerApi, secrets: SecretsManager, first: CertifiedKey, clock: Clock
) -> None:
    library.request("GET", "/")
    secrets.failing = throttled()
    clock.advance(timedelta(days=31))
    with pytest.raises(ExpiredCertificateError):
        library.request("GET", "/")
    assert len(api.received) == 1


@EVERY
def test_a_server_that_shares_no_cipher_has_not_refused_the_certificate(
    library: Library, certificate: ClientCertificate, api: PartnerApi, secrets: SecretsManager, first: CertifiedKey
) -> None:
    certificate.refresh()
    api.context.maximum_version = ssl.TLSVersion.TLSv1_2
    api.context.set_ciphers("AES128-GCM-SHA256")  # whose key exchange Python's contexts do not offer
    with pytest.raises(FAILURES, match=r"(?i)handshake_failure|handshake failure") as failed:
        library.request("GET", "/")
    assert refusal_in(failed.value) is None
    assert secrets.calls == {"GetSecretValue": 1}


@EVERY
def test_a_server_that_is_not_who_it_says_gets_no_request(
    name: str, certificate: ClientCertificate, api: PartnerApi, first: CertifiedKey, other_ca: CertifiedKey
) -> None:
    for url, server_ca in (
        (api.url, to_pem(other_ca.certificate)),
        (api.url.replace("127.0.0.1", "localhost"), api.ca),
    ):
        with (
            opened(name, certificate, url, server_ca) as library,
            pytest.raises(FAILURES, match=r"CERTIFICATE_VERIFY_FAILED|certificate verify failed"),
        ):
            library.request("GET", "/")
    assert not api.received


@EVERY
@pytest.mark.parametrize("server_ca", ["/etc/ssl/cert.pem", ""])
def test_a_server_ca_that_is_no_pem_shows_at_once(name: str, server_ca: str, certificate: ClientCertificate) -> None:
    with pytest.raises(InvalidServerCaError), opened(name, certificate, "https://127.0.0.1", server_ca):
        raise AssertionError("it was taken")


@EVERY
def test_a_bundle_of_server_cas_may_have_comments_in_any_language(
    name: str, certificate: ClientCertificate, api: PartnerApi, first: CertifiedKey
) -> None:
    with opened(name, certificate, api.url, f"# F\u0151tan\xfas\xedtv\xe1ny\n{api.ca}\n# \u7d42\n") as library:
        library.request("GET", "/")
    assert len(api.received) == 1


@EVERY
def test_a_server_may_ask_for_the_certificate_when_it_has_read_the_request(
    name: str, certificate: ClientCertificate, first: CertifiedKey, ca: CertifiedKey
) -> None:
    identity = builders.server_certificate(ca)
    with (
        post_handshake_server(identity, ca.certificate) as server,
        opened(name, certificate, server.url, to_pem(identity.anchor)) as library,
    ):
        library.request("GET", "/")
        assert server.received == [serial_of(first)]


def test_a_server_may_ask_a_context_for_the_certificate_when_it_has_read_the_request(
    certificate: ClientCertificate, first: CertifiedKey, ca: CertifiedKey
) -> None:
    identity = builders.server_certificate(ca)
    with post_handshake_server(identity, ca.certificate) as server:
        HttpClient(certificate, server.url, to_pem(identity.anchor)).request("GET", "/")
        assert server.received == [serial_of(first)]


def test_openssls_own_server_may_ask_for_the_certificate_after_the_handshake(
    certificate: ClientCertificate, first: CertifiedKey, ca: CertifiedKey
) -> None:
    identity = builders.server_certificate(ca)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with in_memory(identity) as file:
        server = subprocess.Popen(
            ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", f"/proc/self/fd/{file}", "-msg"],
            pass_fds=[file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert server.stdin is not None
        lines = iter(server.stdout or ())
        try:
            assert any(line.startswith(b"ACCEPT") for line in lines)
            context = certificate.ssl_context(to_pem(identity.anchor))
            with (
                socket.create_connection(("127.0.0.1", port)) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
            ):
                secure.sendall(b"GET /\n")
                assert any(b"GET /" in line for line in lines)
                server.stdin.write(b"c\n")  # which asks for it, as its manual has it
                server.stdin.flush()
                secure.settimeout(0.05)
                with suppress(TimeoutError):
                    for _ in range(100):
                        secure.recv(1)
                came = list(takewhile(lambda line: b", CertificateVerify" not in line, lines))
                number = first.certificate.serial_number.to_bytes(20).lstrip(b"\0").hex(" ").encode()
                assert number in b" ".join(b"".join(came).split())
                assert any(b", Finished" in line for line in lines)
        finally:
            server.kill()
            server.communicate()


class TestAnSslContext:
    """`ssl_context()`, for whatever takes one."""

    @pytest.fixture
    def client(self, certificate: ClientCertificate, api: PartnerApi, first: CertifiedKey) -> HttpClient:
        return HttpClient(certificate, api.url, api.ca)

    def test_presents_the_newest_certificate_with_each_new_connection(
        self,
        client: HttpClient,
        api: PartnerApi,
        certificate: ClientCertificate,
        secrets: SecretsManager,
        first: CertifiedKey,
        ca: CertifiedKey,
    ) -> None:
        second = builders.leaf(ca)
        client.request("GET", "/")
        secrets.rotate(value_of(second))
        certificate.refresh()
        client.request("GET", "/")
        assert serials(api) == [serial_of(first), serial_of(second)]

    @TLS
    def test_whose_certificate_is_refused_is_followed_by_a_check_so_that_the_next_connection_has_the_newest(
        self,
        tls: ssl.TLSVersion,
        client: HttpClient,
        api: PartnerApi,
        certificate: ClientCertificate,
        secrets: SecretsManager,
        first: CertifiedKey,
        other_ca: CertifiedKey,
    ) -> None:
        api.tls = tls
        api.trust(other_ca.certificate)
        second = builders.leaf(other_ca)
        version = secrets.rotate(value_of(second))
        changed = []
        certificate.subscribe(lambda credential: changed.append(credential.version_id))
        with pytest.raises(ssl.SSLError):
            client.request("GET", "/")
        await_condition(lambda: changed == [version], "the check", 10.0)
        client.request("GET", "/")
        assert serials(api) == [serial_of(second)]

    @TLS
    def test_whose_certificate_is_refused_says_so_even_while_a_long_body_is_being_sent(
        self,
        tls: ssl.TLSVersion,
        client: HttpClient,
        api: PartnerApi,
        first: CertifiedKey,
        other_ca: CertifiedKey,
    ) -> None:
        api.tls = tls
        api.trust(other_ca.certificate)
        for _ in range(3):
            with pytest.raises(ssl.SSLError, match="ALERT_UNKNOWN_CA"):  # and not a broken pipe
                client.request("POST", "/", b"x" * 20_000_000)

    def test_reads_an_answer_to_its_first_byte_though_the_server_did_not_wait_for_the_body(
        self, certificate: ClientCertificate, api: PartnerApi, first: CertifiedKey
    ) -> None:
        answer = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n"

        def answer_early(listening: socket.socket) -> None:
            connection, _ = listening.accept()
            with api.context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(1000)
                secure.sendall(answer)

        api.context.num_tickets = 0  # so that the verdict is not known by them
        with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
            serving = pool.submit(answer_early, listening)
            connection = socket.create_connection(listening.getsockname())
            with certificate.ssl_context(api.ca).wrap_socket(connection, server_hostname="127.0.0.1") as secure:
                with pytest.raises(OSError, match=r"Broken pipe|Connection reset|EOF occurred"):
                    secure.sendall(b"x" * 20_000_000)
                received = b""
                with suppress(OSError):
                    while chunk := secure.recv(7):
                        received += chunk
            serving.result(10)
        assert received == answer

    def test_keeps_what_was_set_on_it_through_a_rotation(
        self,
        api: PartnerApi,
        certificate: ClientCertificate,
        secrets: SecretsManager,
        first: CertifiedKey,
        ca: CertifiedKey,
        other_ca: CertifiedKey,
    ) -> None:
        context = certificate.ssl_context(to_pem(other_ca.certificate))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=api.ca)
        context.set_alpn_protocols(["http/1.1"])
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        for _ in range(2):
            secure = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="another.example")
            assert not secure.context.verify_flags & ssl.VERIFY_X509_STRICT
            assert secure.context.check_hostname
            assert secure.context.maximum_version is context.maximum_version is ssl.TLSVersion.TLSv1_2
            assert len(secure.context.get_ca_certs()) == 2
            secrets.rotate(value_of(builders.leaf(ca)))
            certificate.refresh()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("check_hostname", False),
            ("verify_mode", ssl.CERT_NONE),
            ("verify_mode", ssl.CERT_OPTIONAL),
            ("minimum_version", ssl.TLSVersion.TLSv1_1),
            ("minimum_version", ssl.TLSVersion.MINIMUM_SUPPORTED),
        ],
    )
    def test_verifies_whatever_anybody_wants(
        self, name: str, value: Any, certificate: ClientCertificate, first: CertifiedKey
    ) -> None:
        context = certificate.ssl_context()
        before = getattr(context, name)
        with pytest.raises(ValueError, match=f"{name} cannot be"):
            setattr(context, name, value)
        made = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="any.example").context
        assert getattr(context, name) == getattr(made, name) == before

    @pytest.mark.parametrize("ciphers", ["ALL:@SECLEVEL=0", "HIGH:@SECLEVEL=0"])
    def test_takes_no_ciphers_that_do_without_the_servers_certificate(
        self, ciphers: str, certificate: ClientCertificate, first: CertifiedKey
    ) -> None:
        context = certificate.ssl_context()
        with pytest.raises(ValueError, match="ciphers cannot be"):
            context.set_ciphers(ciphers)
        context.set_ciphers(f"{ciphers}:!aNULL")
        made = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="any.example").context
        for it in (context, made):
            assert "auth-null" not in {cipher["auth"] for cipher in it.get_ciphers()}

    @pytest.mark.parametrize("options", [{"assert_hostname": False}, {"cert_reqs": "CERT_NONE"}], ids=str)
    def test_lets_no_library_leave_host_names_out(
        self, options: dict[str, Any], certificate: ClientCertificate, api: PartnerApi, first: CertifiedKey
    ) -> None:
        pools = urllib3.PoolManager(ssl_context=certificate.ssl_context(api.ca), retries=False, **options)
        with pytest.raises(ValueError, match="cannot be"):
            pools.request("GET", api.url)
        pools.clear()
        assert api.received == []

    @pytest.mark.parametrize("by", ["file", "text"])
    def test_is_given_bundles_with_comments_in_any_language(
        self, by: str, certificate: ClientCertificate, api: PartnerApi, first: CertifiedKey, tmp_path: Path
    ) -> None:
        bundle = f"# F\u0151tan\xfas\xedtv\xe1ny\n{api.ca}\n# \u7d42\n"
        (tmp_path / "ca.pem").write_text(bundle)
        context = certificate.ssl_context(to_pem(builders.root("Another").certificate))
        context.load_verify_locations(**({"cafile": tmp_path / "ca.pem"} if by == "file" else {"cadata": bundle}))
        for it in (context, context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="a.example").context):
            assert len(it.get_ca_certs()) == 2

    def test_takes_no_other_certificate(self, certificate: ClientCertificate, first: CertifiedKey) -> None:
        with pytest.raises(TypeError, match="takes no other"):
            certificate.ssl_context().load_cert_chain("other.pem")

    def test_is_collected_with_its_last_user(
        self, certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey
    ) -> None:
        for _ in range(20):
            certificate.ssl_context(to_pem(first.anchor))
        gc.collect()
        newest = certificate._keeper.newest
        assert newest is not None
        assert len(newest._contexts) <= 1


def test_requests_keep_to_the_server_ca_whatever_verify_says(
    certificate: ClientCertificate,
    api: PartnerApi,
    first: CertifiedKey,
    other_ca: CertifiedKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    would_do = tmp_path / "ca.pem"
    would_do.write_text(api.ca)
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(would_do))
    with certificate.requests_session(to_pem(other_ca.certificate)) as session:
        for verify in (True, str(would_do)):
            with pytest.raises(FAILURES, match="CERTIFICATE_VERIFY_FAILED"):
                session.get(api.url, verify=verify)
        for options in ({"verify": False}, {"cert": "mine.pem"}):
            with pytest.raises(TypeError):
                session.get(api.url, **options)


@pytest.mark.parametrize(
    ("make", "option"),
    [
        ("httpx_async_client", "verify"),
        ("urllib3_pool_manager", "ssl_context"),
        ("urllib3_pool_manager", "cert_reqs"),
        ("urllib3_pool_manager", "assert_hostname"),
        ("urllib3_pool_manager", "assert_fingerprint"),
        ("urllib3_pool_manager", "server_hostname"),
        ("urllib3_pool_manager", "ssl_minimum_version"),
        ("httpx_client", "mounts"),
        ("aiohttp_connector", "ssl"),
        ("aiohttp_session", "connector"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(make: str, option: str, certificate: ClientCertificate) -> None:
    options: dict[str, Any] = {option: None}
    with pytest.raises(TypeError, match=option):
        getattr(certificate, make)(**options)


@pytest.mark.parametrize(
    ("make", "given"),
    [
        ("connection_from_host", ("a.example", 443, "https", {"assert_hostname": False})),
        ("connection_from_url", ("https://a.example", {"cert_reqs": "CERT_NONE"})),
        ("connection_from_context", ({"host": "a.example", "scheme": "https", "server_hostname": "b"},)),
    ],
)
def test_an_option_of_one_host_of_urllib3_is_refused_alike(
    make: str, given: tuple[Any, ...], certificate: ClientCertificate
) -> None:
    with pytest.raises(TypeError, match="pool_kwargs takes no"):
        getattr(certificate.urllib3_pool_manager(), make)(*given)
