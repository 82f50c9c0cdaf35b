"""Checks in the background: nobody waits for them, whatever Secrets Manager does; and they go on after a fork."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from demo.waiting import await_condition
from mtls_client import ClientCertificate, Credential, SecretsManagerSource, refresher
from mtls_rotation.pki.certificates import CertifiedKey
from tests.kit import builders
from tests.unit.client.conftest import AN_INTERVAL, INTERVAL, Clock, serial_of
from tests.unit.client.secrets_manager import SecretsManager, throttled, value_of
from tests.unit.client.server import PartnerApi

SOON = timedelta(milliseconds=100)
DEADLINE = 10.0


class HangingSecretsManager(SecretsManager):
    """Does not answer while `gate` is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.asked = threading.Event()

    def _called(self, operation: str, request: dict[str, Any]) -> None:
        self.asked.set()
        assert self.gate.wait(30)
        super()._called(operation, request)


@pytest.fixture
def secrets() -> Iterator[HangingSecretsManager]:
    made = HangingSecretsManager()
    yield made
    made.gate.set()


def made(secrets: SecretsManager, **options: Any) -> ClientCertificate:
    client: Any = secrets
    return ClientCertificate("mtls/billing", source=SecretsManagerSource(client), **options)


@pytest.fixture
def certificate(secrets: HangingSecretsManager, clock: Clock) -> Iterator[ClientCertificate]:
    with made(secrets, check_every=INTERVAL, background=True, clock=clock) as it:
        yield it


def threads() -> list[threading.Thread]:
    return [it for it in threading.enumerate() if it.name == "mtls_client"]


def test_a_new_version_is_found_without_anybody_using_the_certificate(
    secrets: HangingSecretsManager, first: CertifiedKey, ca: CertifiedKey
) -> None:
    with made(secrets, check_every=SOON, background=True) as certificate:
        certificate.ssl_context()
        for _ in range(3):
            version = secrets.rotate(value_of(builders.leaf(ca)))
            await_condition(lambda v=version: certificate.status().version_id == v, "the new version", DEADLINE)  # type: ignore[misc]
    assert secrets.calls["GetSecretValue"] == 4
    status = certificate.status()
    assert (status.changes, status.failed_checks) == (4, 0)
    assert status.checks == secrets.calls["DescribeSecret"] + 1


@pytest.mark.usefixtures("first")
def test_no_request_waits_for_a_check_that_does_not_end(
    secrets: HangingSecretsManager, certificate: ClientCertificate, api: PartnerApi, ca: CertifiedKey, clock: Clock
) -> None:
    second = builders.leaf(ca)
    with certificate.httpx_client(base_url=api.url, server_ca=api.ca) as http:
        http.get("/").raise_for_status()
        secrets.gate.clear()
        secrets.asked.clear()
        secrets.rotate(value_of(second))
        clock.advance(AN_INTERVAL)
        for _ in range(5):
            http.get("/old").raise_for_status()  # would not come back
        assert secrets.asked.wait(DEADLINE)
        http.get("/old").raise_for_status()
        secrets.gate.set()
        await_condition(lambda: certificate.status().serial_number == serial_of(second), "the check", DEADLINE)
        http.get("/new").raise_for_status()
    assert {it.serial_number for it in api.received if it.path == "/new"} == {serial_of(second)}
    assert secrets.calls == {"GetSecretValue": 2, "DescribeSecret": 1}


@pytest.mark.usefixtures("first")
def test_where_checks_are_made_on_use_a_source_that_does_not_answer_holds_a_request_up_for_a_moment_only(
    secrets: HangingSecretsManager, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtls_client.keeper.PATIENCE", 0.2)
    with made(secrets, check_every=INTERVAL, background=False, clock=clock) as certificate:
        certificate.credential()
        secrets.gate.clear()
        clock.advance(AN_INTERVAL)
        with ThreadPoolExecutor(1) as pool:
            try:
                for _ in range(2):
                    pool.submit(certificate.credential).result(DEADLINE)
            finally:
                secrets.gate.set()


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize("library", ["httpx", "aiohttp"])
def test_an_event_loop_goes_on_while_the_first_certificate_is_awaited(
    library: str, secrets: HangingSecretsManager, certificate: ClientCertificate, api: PartnerApi
) -> None:
    async def main() -> None:
        async def ask() -> None:
            if library == "httpx":
                async with certificate.httpx_async_client(base_url=api.url, server_ca=api.ca) as client:
                    (await client.get("/")).raise_for_status()
            else:
                async with certificate.aiohttp_session(server_ca=api.ca) as session, session.get(api.url) as answer:
                    answer.raise_for_status()

        secrets.gate.clear()
        asking = asyncio.create_task(ask())
        assert await asyncio.to_thread(secrets.asked.wait, DEADLINE)
        for _ in range(100):
            await asyncio.sleep(0)  # would not come back, were the loop blocked
        assert not asking.done()
        secrets.gate.set()
        await asking

    asyncio.run(asyncio.wait_for(main(), 30))


def test_while_checks_fail_the_last_good_certificate_serves_and_the_status_says_why(
    secrets: HangingSecretsManager, first: CertifiedKey, ca: CertifiedKey
) -> None:
    with made(secrets, check_every=SOON, background=True) as certificate:
        certificate.credential()
        secrets.failing = throttled()
        await_condition(lambda: certificate.status().failures >= 1, "a failure", DEADLINE)
        assert certificate.credential().serial_number == serial_of(first)
        assert "ThrottlingException" in str(certificate.status().last_error)
        secrets.failing = None
        version = secrets.rotate(value_of(builders.leaf(ca)))
        await_condition(lambda: certificate.status().version_id == version, "recovery", DEADLINE)
        assert certificate.status().last_error is None


@pytest.mark.usefixtures("first")
def test_an_error_of_a_source_of_ones_own_is_a_failed_check_and_its_text_goes_nowhere(clock: Clock) -> None:
    class Broken:
        def current_version(self, secret: str, *, fresh: bool = False) -> str:
            raise RuntimeError("with a private key in it")

        def read(self, secret: str, version_id: str | None = None) -> Any:
            raise RuntimeError("with a private key in it")

        def close(self) -> None: ...

    certificate = ClientCertificate("mtls/billing", source=Broken(), clock=clock)
    with pytest.raises(Exception, match="RuntimeError") as raised:
        certificate.credential()
    assert "private key" not in str(raised.value)
    assert "private key" not in str(certificate.status().last_error)


def test_the_thread_ends_with_the_certificate_whether_it_is_closed_or_forgotten(
    secrets: HangingSecretsManager, first: CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresher, "LONGEST_NAP", 3600.0)
    gc.collect()
    await_condition(lambda: not threads(), "those of other tests are over", DEADLINE)
    closed, forgotten = (made(secrets, background=True) for _ in range(2))
    for it in (closed, forgotten):
        it.credential()
    assert len(threads()) == 2
    closed.close()
    await_condition(lambda: len(threads()) == 1, "the closed one's has ended", DEADLINE)
    del it, forgotten
    gc.collect()
    await_condition(lambda: not threads(), "the forgotten one's has ended", DEADLINE)
    closed.refresh()
    assert closed.credential().serial_number == serial_of(first)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_checks_by_itself(secrets: HangingSecretsManager, first: CertifiedKey, ca: CertifiedKey) -> None:
    with made(secrets, check_every=SOON, background=True) as certificate:
        certificate.credential()
        certificate._keeper._asking.acquire()  # as the thread might hold it at that moment
        child = os.fork()
        if not child:  # pragma: no cover - another process
            signal.alarm(20)
            try:
                version = secrets.rotate(value_of(builders.leaf(ca)))
                deadline = time.monotonic() + DEADLINE
                while certificate.credential().version_id != version:
                    if time.monotonic() > deadline:
                        os._exit(1)
                os._exit(0)
            finally:
                os._exit(2)
        certificate._keeper._asking.release()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class TestSubscribers:
    def test_are_told_of_each_version_and_may_ask_for_it(
        self, secrets: HangingSecretsManager, certificate: ClientCertificate, first: CertifiedKey, ca: CertifiedKey
    ) -> None:
        told: list[tuple[str, str]] = []

        def hear(credential: Credential) -> None:
            certificate.refresh()  # would hang, were the lock still held
            told.append((credential.version_id, certificate.credential().version_id))

        end = certificate.subscribe(hear)
        certificate.refresh()
        version = secrets.rotate(value_of(builders.leaf(ca)))
        certificate.refresh()
        end()
        secrets.rotate(value_of(builders.leaf(ca)))
        certificate.refresh()
        assert told == [(f"{1:032d}",) * 2, (version,) * 2]

    def test_that_fail_harm_nobody_else(
        self, certificate: ClientCertificate, first: CertifiedKey, caplog: pytest.LogCaptureFixture
    ) -> None:
        told: list[str] = []

        def fail(_: Credential) -> None:
            raise RuntimeError("of the program's own")

        certificate.subscribe(fail)
        certificate.subscribe(lambda credential: told.append(credential.version_id))
        certificate.refresh()
        assert len(told) == 1
        assert "of the program's own" in caplog.text


@pytest.mark.parametrize(("in_lambda", "ahead"), [(True, False), (False, True)])
def test_in_lambda_where_nothing_runs_between_invocations_there_is_no_thread_until_a_use_finds_a_check_due(
    in_lambda: bool,
    ahead: bool,
    secrets: HangingSecretsManager,
    first: CertifiedKey,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_LAMBDA_RUNTIME_API", raising=False)
    if in_lambda:
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")
    gc.collect()
    await_condition(lambda: not threads(), "those of other tests are over", DEADLINE)
    with made(secrets, check_every=INTERVAL, clock=clock) as certificate:
        certificate.credential()
        assert bool(threads()) is ahead
        clock.advance(AN_INTERVAL)
        certificate.credential()
        await_condition(lambda: secrets.calls["DescribeSecret"] == 1, "the check", DEADLINE)
