"""What holds for httpx alone, beside what `test_libraries` holds for every library: real requests over real TLS."""

from __future__ import annotations

import logging
import os
import signal
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_client import ClientCertificate, SecretUnavailableError
from mtls_client.identity import Identity
from mtls_rotation.pki.certificates import CertifiedKey
from tests.kit import builders
from tests.unit.client.conftest import AN_INTERVAL, Clock, leaks, serial_of
from tests.unit.client.secrets_manager import SecretsManager, throttled, value_of
from tests.unit.client.server import PartnerApi

TLS = pytest.mark.parametrize("tls", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])


@pytest.fixture
def http(certificate: ClientCertificate, api: PartnerApi) -> Iterator[httpx.Client]:
    with certificate.httpx_client(base_url=api.url, server_ca=api.ca) as client:
        yield client


def serials(api: PartnerApi) -> list[str]:
    return [received.serial_number for received in api.received]


class TestTakingANewVersion:
    def test_a_response_that_is_given_up_and_closed_twice_takes_no_other_with_it(
        self,
        http: httpx.Client,
        api: PartnerApi,
        certificate: ClientCertificate,
        secrets: SecretsManager,
        first: CertifiedKey,
        ca: CertifiedKey,
    ) -> None:
        with http.stream("GET", "/stream") as response, http.stream("GET", "/stream") as other:
            secrets.rotate(value_of(builders.leaf(ca)))
            certificate.refresh()
            http.get("/").raise_for_status()
            for _ in range(2):
                response.stream.close()  # type: ignore[union-attr]
            api.gate.set()
            assert other.read() == b"firstsecond"
        assert api.await_closed(serial_of(first))

    def test_a_request_that_was_overtaken_by_a_rotation_does_not_bring_the_old_pool_back(
        self,
        http: httpx.Client,
        api: PartnerApi,
        certificate: ClientCertificate,
        secrets: SecretsManager,
        first: CertifiedKey,
        ca: CertifiedKey,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        second = builders.leaf(ca)
        current = certificate._keeper.current

        def overtaken() -> Identity:
            identity = current()
            monkeypatch.undo()
            secrets.rotate(value_of(second))
            certificate.refresh()
            http.get("/quick").raise_for_status()
            return identity

        http.get("/").raise_for_status()
        monkeypatch.setattr(certificate._keeper, "current", overtaken)
        http.get("/slow").raise_for_status()
        assert [(it.path, it.serial_number) for it in api.received] == [
            ("/", serial_of(first)),
            ("/quick", serial_of(second)),
            ("/slow", serial_of(second)),
        ]

    def test_under_load_none_fails_and_none_begins_with_an_older_one(
        self,
        http: httpx.Client,
        api: PartnerApi,
        certificate: ClientCertificate,
        secrets: SecretsManager,
        first: CertifiedKey,
        ca: CertifiedKey,
        clock: Clock,
    ) -> None:
        rotations, workers, each = 10, 8, 100
        order = {serial_of(first): 0}
        stop = threading.Event()

        def work(_: int) -> int:
            answered = 0
            while not stop.is_set():
                begun_with = certificate.status().serial_number or serial_of(first)
                assert http.post(f"/{begun_with}", content=begun_with).text == begun_with
                answered += 1
            return answered

        with ThreadPoolExecutor(workers) as pool:
            running = [pool.submit(work, number) for number in range(workers)]
            try:
                assert api.await_requests(serial_of(first), each)
                for number in range(1, rotations + 1):
                    following = builders.leaf(ca)
                    order[serial_of(following)] = number
                    secrets.rotate(value_of(following))
                    clock.advance(AN_INTERVAL)
                    assert api.await_requests(serial_of(following), each)
            finally:
                stop.set()
            answered = sum(future.result() for future in running)

        assert len(api.received) == answered
        assert all(order[it.serial_number] >= order[it.path.removeprefix("/")] for it in api.received)
        assert secrets.calls == {"GetSecretValue": rotations + 1, "DescribeSecret": rotations}
        assert all(api.await_closed(serial_number) for serial_number, number in order.items() if number < rotations)

    def test_without_any_certificate_nothing_is_sent(
        self, http: httpx.Client, api: PartnerApi, secrets: SecretsManager
    ) -> None:
        secrets.failing = throttled()
        with pytest.raises(SecretUnavailableError):
            http.get("/")
        assert api.handshakes == 0

    def test_a_closed_client_leaves_no_connection(
        self, http: httpx.Client, api: PartnerApi, certificate: ClientCertificate, first: CertifiedKey
    ) -> None:
        http.get("/").raise_for_status()
        http.close()
        certificate.close()
        assert api.await_closed(serial_of(first))

    @pytest.mark.parametrize("option", ["verify", "cert", "transport", "proxy", "http2"])
    def test_an_option_that_would_be_ignored_is_refused(self, option: str, certificate: ClientCertificate) -> None:
        with pytest.raises(TypeError, match=option):
            certificate.httpx_client(base_url="", **{option: None})

    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_forked_child_makes_connections_of_its_own(
        self, http: httpx.Client, api: PartnerApi, certificate: ClientCertificate, first: CertifiedKey
    ) -> None:
        http.get("/").raise_for_status()
        certificate._keeper._asking.acquire()  # as another thread might hold it
        child = os.fork()
        if not child:  # pragma: no cover - another process
            signal.alarm(20)  # should it wait for that thread, which is not there
            try:
                certificate.refresh()
                os._exit(0 if http.get("/child").is_success else 1)
            finally:
                os._exit(2)
        certificate._keeper._asking.release()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        http.get("/parent").raise_for_status()
        assert [it.path for it in api.received] == ["/", "/child", "/parent"]
        assert api.handshakes == 2


def _revocation_list(ca: CertifiedKey, revoked: CertifiedKey) -> str:
    entry = (
        x509.RevokedCertificateBuilder()
        .serial_number(revoked.certificate.serial_number)
        .revocation_date(builders.NOW - timedelta(hours=1))
        .build()
    )
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.certificate.subject)
        .last_update(builders.NOW - timedelta(hours=1))
        .next_update(builders.NOW + timedelta(days=1))
        .add_revoked_certificate(entry)
        .sign(ca.key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()


@TLS
class TestARefusedHandshake:
    @pytest.fixture(autouse=True)
    def _tls(self, api: PartnerApi, tls: ssl.TLSVersion) -> None:
        api.tls = tls

    @pytest.fixture
    def second(self, other_ca: CertifiedKey) -> CertifiedKey:
        """The only one that the server lets in after a `_refuse`."""
        return builders.leaf(other_ca)

    @pytest.fixture
    def _refused(self, http: httpx.Client, api: PartnerApi, first: CertifiedKey, other_ca: CertifiedKey) -> None:
        """The first certificate is in use, no check is due, and the server trusts the other CA alone."""
        api.trust(first.anchor)
        http.get("/").raise_for_status()
        api.trust(other_ca.certificate)
        api.received.clear()
        http._transport.close()  # the server would take requests on the connection that it has let in
        api.handshakes = 0

    @pytest.mark.usefixtures("_refused")
    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
    @pytest.mark.parametrize("size", [0, 10, 5_000_000])
    def test_is_recovered_from_within_one_request_with_its_body_intact(
        self, method: str, size: int, http: httpx.Client, api: PartnerApi, secrets: SecretsManager, second: CertifiedKey
    ) -> None:
        secrets.rotate(value_of(second))
        body = os.urandom(size)

        assert http.request(method, "/order", content=body).content == body

        (received,) = api.received
        assert (received.method, received.path, received.body) == (method, "/order", body)
        assert received.serial_number == serial_of(second)
        assert api.handshakes == 2
        assert secrets.calls == {"GetSecretValue": 2, "DescribeSecret": 1}

    def test_of_a_revoked_certificate_is_recovered_from(
        self,
        http: httpx.Client,
        api: PartnerApi,
        certificate: ClientCertificate,
        secrets: SecretsManager,
        first: CertifiedKey,
        ca: CertifiedKey,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        api.trust(ca.certificate, revoked=_revocation_list(ca, first))
        second = builders.leaf(ca)
        certificate.refresh()
        secrets.rotate(value_of(second))
        http.get("/").raise_for_status()
        assert serials(api) == [serial_of(second)]
        assert "CERTIFICATE_REVOKED" in caplog.text

    def test_of_a_certificate_that_the_server_takes_for_expired_is_recovered_from(
        self,
        http: httpx.Client,
        api: PartnerApi,
        secrets: SecretsManager,
        certificate: ClientCertificate,
        ca: CertifiedKey,
        clock: Clock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        api.trust(ca.certificate)
        secrets.rotate(value_of(builders.leaf(ca, now=builders.NOW - timedelta(days=31))))
        clock.advance(timedelta(days=-5))  # the client's clock is behind
        certificate.refresh()
        second = builders.leaf(ca, now=builders.NOW - timedelta(days=6))
        secrets.rotate(value_of(second))
        http.get("/").raise_for_status()
        assert serials(api) == [serial_of(second)]
        assert "CERTIFICATE_EXPIRED" in caplog.text

    @pytest.mark.usefixtures("_refused")
    def test_by_many_threads_at_once_costs_one_check(
        self, http: httpx.Client, api: PartnerApi, secrets: SecretsManager, second: CertifiedKey
    ) -> None:
        secrets.rotate(value_of(second))
        together = threading.Barrier(8)

        def ask(number: int) -> bool:
            together.wait(10)
            return http.post(f"/{number}", content=b"x" * number).is_success

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(ask, range(8)))
        assert sorted(received.path for received in api.received) == [f"/{number}" for number in range(8)]
        assert secrets.calls == {"GetSecretValue": 2, "DescribeSecret": 1}

    @pytest.mark.usefixtures("_refused")
    def test_without_a_newer_version_is_the_requests_own_error(
        self,
        http: httpx.Client,
        api: PartnerApi,
        secrets: SecretsManager,
        first: CertifiedKey,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG, "mtls_client")
        for _ in range(5):
            with pytest.raises(httpx.TransportError, match="ALERT_UNKNOWN_CA") as raised:
                http.post("/order", content=b"once")
            assert "there is no newer one" in "".join(raised.value.__notes__)
            assert not leaks(raised.value, value_of(first))
        assert not leaks(Exception(caplog.text), value_of(first))
        assert not api.received
        assert api.handshakes == 5
        assert secrets.calls["DescribeSecret"] == 1  # a server that refuses everybody must not cause a storm of calls

    @pytest.mark.usefixtures("_refused")
    def test_of_the_newer_version_too_is_not_tried_a_third_time(
        self, http: httpx.Client, api: PartnerApi, secrets: SecretsManager, ca: CertifiedKey
    ) -> None:
        secrets.rotate(value_of(builders.leaf(ca)))
        with pytest.raises(httpx.TransportError, match="ALERT_UNKNOWN_CA"):
            http.get("/")
        assert api.handshakes == 2

    @pytest.mark.usefixtures("_refused")
    def test_while_secrets_manager_is_away_is_the_requests_own_error(
        self, http: httpx.Client, certificate: ClientCertificate, secrets: SecretsManager, second: CertifiedKey
    ) -> None:
        secrets.rotate(value_of(second))
        secrets.failing = throttled()
        with pytest.raises(httpx.TransportError, match="ALERT_UNKNOWN_CA"):
            http.get("/")
        assert "ThrottlingException" in str(certificate.status().last_error)

    @pytest.mark.usefixtures("_refused")
    def test_after_an_operator_moved_the_label_back_is_recovered_from_at_once(
        self,
        http: httpx.Client,
        api: PartnerApi,
        certificate: ClientCertificate,
        secrets: SecretsManager,
        ca: CertifiedKey,
    ) -> None:
        rolled_back = secrets.current
        secrets.rotate(value_of(builders.leaf(builders.root("Nobody's"))))
        certificate.refresh()
        api.trust(ca.certificate)
        secrets.current = rolled_back
        http.get("/").raise_for_status()

    @pytest.mark.usefixtures("_refused")
    def test_of_a_body_that_can_be_read_once_is_recovered_from_only_if_it_was_not_read(
        self, http: httpx.Client, api: PartnerApi, secrets: SecretsManager, second: CertifiedKey, tls: ssl.TLSVersion
    ) -> None:
        secrets.rotate(value_of(second))
        if tls is ssl.TLSVersion.TLSv1_2:  # whose handshake ends with the verdict
            assert http.post("/", content=iter([b"on", b"ce"])).content == b"once"
            return
        verdict = api.hold_the_verdict()

        def once() -> Iterator[bytes]:
            yield b"on"
            verdict.set()
            yield b"ce"

        with pytest.raises(httpx.ReadError, match="ALERT_UNKNOWN_CA") as raised:
            http.post("/", content=once())
        assert "can be read only once" in "".join(raised.value.__notes__)
        assert not api.received
        assert http.get("/").is_success  # the newer one is in use all the same

    @pytest.mark.parametrize("end", ["reset", "close", "reset in the handshake"])
    def test_is_not_seen_in_a_connection_that_just_ends(
        self,
        end: str,
        http: httpx.Client,
        api: PartnerApi,
        certificate: ClientCertificate,
        secrets: SecretsManager,
        first: CertifiedKey,
        ca: CertifiedKey,
    ) -> None:
        api.trust(ca.certificate)
        certificate.refresh()
        secrets.rotate(value_of(builders.leaf(ca)))
        api.hang_up = end
        with pytest.raises(httpx.TransportError):
            http.post("/order", content=b"once")
        assert api.handshakes == 1
        assert len(api.received) == (0 if end == "reset in the handshake" else 1)
        assert not secrets.calls["DescribeSecret"]

    @pytest.mark.usefixtures("_refused")
    def test_is_heard_of_by_the_callers_own_trace(
        self, http: httpx.Client, api: PartnerApi, secrets: SecretsManager, second: CertifiedKey
    ) -> None:
        secrets.rotate(value_of(second))
        heard: list[str] = []
        request = http.build_request("GET", "/", extensions={"trace": lambda event, _: heard.append(event)})
        trace = request.extensions["trace"]
        http.send(request).raise_for_status()
        assert heard.count("connection.start_tls.started") == 2
        assert request.extensions["trace"] is trace
