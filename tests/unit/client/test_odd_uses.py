"""Uses that are odd but real: each was a defect once."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import uvloop

from demo.waiting import await_condition
from mtls_client import ClientCertificate, Credential, SecretsManagerSource
from mtls_rotation.pki.certificates import CertifiedKey, to_pem
from tests.kit import builders
from tests.unit.client.conftest import Clock, serial_of
from tests.unit.client.libraries import FAILURES, POOLING, Library, opened
from tests.unit.client.secrets_manager import SECRET, SecretsManager, value_of
from tests.unit.client.server import PartnerApi, _Handler, partner_api
from tests.unit.client.test_background import HangingSecretsManager

EVERY = pytest.mark.parametrize("name", POOLING)
DEADLINE = 10.0


@pytest.fixture
def another(ca: CertifiedKey, tmp_path: Path) -> Iterator[PartnerApi]:
    """A second server of the same kind."""
    with partner_api(builders.server_certificate(ca), tmp_path) as server:
        server.trust(ca.certificate)
        yield server


@pytest.mark.parametrize("tls", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_on_uvloop_requests_go_through_a_rotation(
    tls: ssl.TLSVersion,
    certificate: ClientCertificate,
    api: PartnerApi,
    secrets: SecretsManager,
    first: CertifiedKey,
    ca: CertifiedKey,
) -> None:
    api.tls = tls
    second = builders.leaf(ca)

    async def main() -> None:
        async with (
            certificate.aiohttp_session(server_ca=api.ca) as session,
            certificate.httpx_async_client(base_url=api.url, server_ca=api.ca) as client,
        ):
            for _ in range(2):
                for _ in range(3):
                    async with session.post(api.url, data=b"x" * 1000) as answer:
                        assert await answer.read() == b"x" * 1000
                    assert (await client.post("/", content=b"y")).content == b"y"
                secrets.rotate(value_of(second))
                certificate.refresh()

    uvloop.run(main())
    assert [it.serial_number for it in api.received] == [serial_of(first)] * 6 + [serial_of(second)] * 6


@EVERY
def test_a_request_after_a_refused_one_in_its_handler_is_not_taken_for_refused(
    name: str,
    certificate: ClientCertificate,
    api: PartnerApi,
    another: PartnerApi,
    secrets: SecretsManager,
    first: CertifiedKey,
    ca: CertifiedKey,
    other_ca: CertifiedKey,
) -> None:
    certificate.refresh()
    another.trust(other_ca.certificate)
    api.hang_up = "reset"

    def ask(refused: Library, http: Library) -> None:
        try:
            refused.request("DELETE", "/")
        except FAILURES:
            secrets.rotate(value_of(builders.leaf(ca)))
            certificate.refresh()
            http.request("POST", "/order", b"once")

    with (
        opened(name, certificate, another.url, api.ca) as refused,
        opened(name, certificate, api.url, api.ca) as http,
        pytest.raises(FAILURES),
    ):
        ask(refused, http)
    assert [it.path for it in api.received] == ["/order"]


@EVERY
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_leaves_the_parents_connections_alone(
    name: str, certificate: ClientCertificate, api: PartnerApi, first: CertifiedKey
) -> None:
    with opened(name, certificate, api.url, api.ca) as http:
        http.request("POST", "/", b"before")
        child = os.fork()
        if not child:  # pragma: no cover - another process
            signal.alarm(20)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert http.request("POST", "/", b"after") == b"after"
    assert api.handshakes == 1


def test_urllib3_makes_each_hop_of_a_redirect_a_request_of_its_own(
    clock: Clock,
    api: PartnerApi,
    another: PartnerApi,
    secrets: SecretsManager,
    first: CertifiedKey,
    other_ca: CertifiedKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client: Any = secrets
    certificate = ClientCertificate(
        SECRET,
        source=SecretsManagerSource(client),
        background=False,
        clock=clock,
        redirect_origins=[another.url],
    )
    certificate.refresh()
    another.trust(other_ca.certificate)
    second = builders.leaf(other_ca)
    secrets.rotate(value_of(second))

    def redirect(handler: BaseHTTPRequestHandler, code: int, message: str | None = None) -> None:
        elsewhere = handler.server is api
        send_response(handler, 303 if elsewhere else code, message)
        if elsewhere:
            handler.send_header("location", f"{another.url}/done")

    send_response = _Handler.send_response
    monkeypatch.setattr(_Handler, "send_response", redirect)
    pools = certificate.urllib3_pool_manager(api.ca)
    assert pools.request("POST", f"{api.url}/order", body=b"once").status == 200
    assert [it.path for it in api.received] == ["/order"]
    assert [(it.path, it.serial_number) for it in another.received] == [("/done", serial_of(second))]
    pools.clear()


def test_urllib3_presents_the_certificate_to_a_host_that_is_asked_for_by_name(
    certificate: ClientCertificate, api: PartnerApi, first: CertifiedKey
) -> None:
    pools: Any = certificate.urllib3_pool_manager(api.ca)
    assert pools.connection_from_url(api.url).request("POST", "/", body=b"hello").data == b"hello"
    pools.clear()


class TestAUsersOwnSettings:
    def changed(self, certificate: ClientCertificate, secrets: SecretsManager, ca: CertifiedKey) -> bool:
        secrets.rotate(value_of(builders.leaf(ca)))
        return certificate.refresh()

    def made(self, context: ssl.SSLContext) -> Any:
        return context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="any.example").context

    @pytest.mark.usefixtures("first")
    def test_hold_for_the_next_version(
        self, certificate: ClientCertificate, secrets: SecretsManager, ca: CertifiedKey
    ) -> None:
        context = certificate.ssl_context()
        context.verify_mode = ssl.CERT_REQUIRED
        context.check_hostname = True
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        assert self.changed(certificate, secrets, ca)
        made = self.made(context)
        assert (made.check_hostname, made.verify_mode) == (True, ssl.CERT_REQUIRED)
        assert made.minimum_version is ssl.TLSVersion.TLSv1_3

    @pytest.mark.usefixtures("first")
    def test_hold_though_a_file_that_they_named_is_gone(
        self, certificate: ClientCertificate, secrets: SecretsManager, ca: CertifiedKey, tmp_path: Path
    ) -> None:
        file = tmp_path / "ca.pem"
        file.write_text(to_pem(ca.certificate))
        context = certificate.ssl_context(to_pem(builders.root("Another").certificate))
        context.load_verify_locations(file)
        file.unlink()
        assert self.changed(certificate, secrets, ca)
        assert len(self.made(context).get_ca_certs()) == 2

    @pytest.mark.usefixtures("first")
    def test_that_cannot_be_made_again_keep_the_new_version_from_nobody_else(
        self, certificate: ClientCertificate, secrets: SecretsManager, ca: CertifiedKey, caplog: Any
    ) -> None:
        context = certificate.ssl_context()
        fine = [True]

        def brittle(_: ssl.SSLContext) -> None:
            if not fine.pop():
                raise RuntimeError("of the user's own")

        fine.append(True)
        context._template.change("brittle", brittle)  # type: ignore[attr-defined]
        fine[:] = [False]
        assert self.changed(certificate, secrets, ca)
        assert certificate.status().last_error is None
        assert "of the user's own" in caplog.text


class TestASubscriber:
    def test_is_told_in_order_though_several_threads_check(
        self, certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, ca: CertifiedKey
    ) -> None:
        told: list[str] = []
        slowly, told_of_one = threading.Event(), threading.Event()

        def hear(credential: Credential) -> None:
            told_of_one.set()
            assert slowly.wait(DEADLINE)
            told.append(credential.version_id)

        certificate.subscribe(hear)
        with ThreadPoolExecutor(1) as pool:
            checking = pool.submit(certificate.refresh)
            assert told_of_one.wait(DEADLINE)
            versions = [secrets.current]
            for _ in range(2):
                versions.append(secrets.rotate(value_of(builders.leaf(ca))))
                certificate.refresh()  # which does not wait for the subscriber
            slowly.set()
            checking.result(DEADLINE)
        assert told == versions

    def test_that_wants_to_end_its_thread_ends_no_checks(
        self, secrets: SecretsManager, first: CertifiedKey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mtls_client.refresher.LONGEST_NAP", 0.05)
        client: Any = secrets
        source = SecretsManagerSource(client)
        every = timedelta(milliseconds=50)
        with ClientCertificate(SECRET, source=source, check_every=every, background=True) as certificate:
            certificate.credential()
            certificate.subscribe(lambda _: sys.exit())
            secrets.rotate(secrets.values[secrets.current])
            await_condition(lambda: certificate.status().changes == 2, "the version at which it raises", DEADLINE)
            before = secrets.calls["DescribeSecret"]
            await_condition(lambda: secrets.calls["DescribeSecret"] > before + 1, "further checks", DEADLINE)


def test_aiohttp_opens_nothing_for_a_session_that_was_closed_while_it_waited(api: PartnerApi, ca: CertifiedKey) -> None:
    secrets = HangingSecretsManager()
    secrets.rotate(value_of(builders.leaf(ca)))
    client: Any = secrets
    certificate = ClientCertificate(SECRET, source=SecretsManagerSource(client), background=True)

    async def main() -> None:
        session = certificate.aiohttp_session(server_ca=api.ca)
        secrets.gate.clear()
        asking = asyncio.create_task(session.get(api.url).__aenter__())
        assert await asyncio.to_thread(secrets.asked.wait, DEADLINE)
        await session.close()
        secrets.gate.set()
        with pytest.raises(aiohttp.ClientConnectionError):
            await asking

    asyncio.run(main())
    certificate.close()
    assert api.handshakes == 0


def test_aiohttp_does_not_send_again_what_waited_to_be_invited(
    certificate: ClientCertificate,
    api: PartnerApi,
    secrets: SecretsManager,
    first: CertifiedKey,
    other_ca: CertifiedKey,
) -> None:
    certificate.refresh()
    api.trust(other_ca.certificate)
    secrets.rotate(value_of(builders.leaf(other_ca)))

    async def main() -> None:
        async with certificate.aiohttp_session(server_ca=api.ca) as session:
            with pytest.raises(aiohttp.ClientError, match=r"(?i)unknown.ca"):
                await session.post(api.url, data=b"body", expect100=True)

    asyncio.run(main())


def test_httpx_leaves_nothing_behind_where_a_request_is_cancelled_at_the_swap(
    certificate: ClientCertificate,
    api: PartnerApi,
    secrets: SecretsManager,
    first: CertifiedKey,
    ca: CertifiedKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aclose = httpx.AsyncHTTPTransport.aclose
    begun: list[asyncio.Event] = []

    async def slowly(transport: httpx.AsyncHTTPTransport) -> None:
        begun[0].set()
        await asyncio.sleep(0.05)
        await aclose(transport)

    async def main() -> None:
        begun.append(asyncio.Event())
        async with certificate.httpx_async_client(base_url=api.url, server_ca=api.ca) as client:
            await asyncio.gather(*(client.get("/") for _ in range(3)))
            secrets.rotate(value_of(builders.leaf(ca)))
            certificate.refresh()
            monkeypatch.setattr(httpx.AsyncHTTPTransport, "aclose", slowly)
            asking = asyncio.create_task(client.get("/"))
            await begun[0].wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert await asyncio.to_thread(api.await_closed, serial_of(first))

    asyncio.run(main())


def test_httpx_raises_its_own_errors_for_a_second_refusal_too(
    certificate: ClientCertificate,
    api: PartnerApi,
    secrets: SecretsManager,
    first: CertifiedKey,
    ca: CertifiedKey,
    other_ca: CertifiedKey,
) -> None:
    certificate.refresh()
    api.trust(other_ca.certificate)
    secrets.rotate(value_of(builders.leaf(ca)))

    async def main() -> None:
        async with certificate.httpx_async_client(base_url=api.url, server_ca=api.ca) as client:
            with pytest.raises(httpx.TransportError, match="UNKNOWN_CA"):
                await client.delete("/")

    asyncio.run(main())
    assert api.handshakes == 2


def test_a_write_that_times_out_is_told_at_once(
    certificate: ClientCertificate, api: PartnerApi, first: CertifiedKey
) -> None:
    looked: list[Callable[[], object]] = []
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        api.context.num_tickets = 0
        accepted = pool.submit(lambda: api.context.wrap_socket(listening.accept()[0], server_side=True))
        connection = socket.create_connection(listening.getsockname())
        with certificate.ssl_context(api.ca).wrap_socket(connection, server_hostname="127.0.0.1") as secure:
            secure._look_ahead = looked.append  # type: ignore[attr-defined]
            secure.settimeout(0.2)
            with pytest.raises(TimeoutError):
                secure.sendall(b"x" * 20_000_000)  # which nobody reads
        accepted.result(DEADLINE).close()
    assert not looked
