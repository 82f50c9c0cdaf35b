"""When the client asks Secrets Manager, and what it makes of the answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from mtls_client import ClientCertificate, ExpiredCertificateError, InvalidSecretError, SecretUnavailableError
from mtls_client.pools import Pools
from mtls_rotation.pki.certificates import CertifiedKey, to_pem
from tests.kit import builders
from tests.unit.client.conftest import AN_INTERVAL, INTERVAL, Clock, serial_of
from tests.unit.client.secrets_manager import SecretsManager, throttled, value_of

A_CONFIRMATION = timedelta(seconds=31)


@pytest.fixture
def second(ca: CertifiedKey) -> CertifiedKey:
    """Not in the secret yet; issued a day after the first."""
    return builders.leaf(ca, now=builders.NOW + timedelta(days=1))


def in_use(certificate: ClientCertificate) -> str | None:
    """The version that the next connection would use."""
    certificate.ssl_context()
    return certificate.status().version_id


def test_nothing_is_asked_before_the_first_use(certificate: ClientCertificate, secrets: SecretsManager) -> None:
    with certificate.httpx_client(base_url="https://127.0.0.1"):
        status = certificate.status()
    assert not secrets.calls
    assert (status.version_id, status.last_checked, status.last_error) == (None, None, None)


def test_the_first_use_costs_one_call(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, clock: Clock
) -> None:
    certificate.ssl_context()
    status = certificate.status()
    assert secrets.calls == {"GetSecretValue": 1}
    assert status.serial_number == serial_of(first)
    assert status.not_after == first.certificate.not_valid_after_utc
    assert status.last_checked == clock.now
    assert status.last_error is None


def test_an_unchanged_secret_costs_one_describe_for_each_interval(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, clock: Clock
) -> None:
    certificate.ssl_context()
    for _ in range(5):
        clock.advance(AN_INTERVAL)
        for _ in range(3):
            certificate.ssl_context()
    assert secrets.calls == {"GetSecretValue": 1, "DescribeSecret": 5}


def test_within_the_interval_nothing_is_asked(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, clock: Clock
) -> None:
    certificate.ssl_context()
    for _ in range(10):
        clock.advance(INTERVAL / 11)
        certificate.ssl_context()
    assert secrets.calls == {"GetSecretValue": 1}


def test_each_new_version_is_read_once(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, ca: CertifiedKey, clock: Clock
) -> None:
    certificate.ssl_context()
    for _ in range(5):
        version = secrets.rotate(value_of(builders.leaf(ca)))
        clock.advance(AN_INTERVAL)
        assert in_use(certificate) == version
        certificate.ssl_context()
    assert secrets.calls == {"GetSecretValue": 6, "DescribeSecret": 5}


def test_refresh_says_whether_the_version_changed(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, second: CertifiedKey, clock: Clock
) -> None:
    assert certificate.refresh() is True
    assert certificate.refresh() is False
    clock.advance(timedelta(days=1))
    secrets.rotate(value_of(second))
    assert certificate.refresh() is True
    assert certificate.status().serial_number == serial_of(second)


def test_when_little_validity_is_left_checks_come_sooner_than_the_interval(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, clock: Clock
) -> None:
    clock.now = first.certificate.not_valid_after_utc - timedelta(minutes=2)
    certificate.ssl_context()
    status = certificate.status()
    assert status.next_check == clock.now + timedelta(minutes=1)
    clock.advance(timedelta(minutes=1))
    certificate.ssl_context()
    assert secrets.calls["DescribeSecret"] == 1


def test_checks_go_on_when_the_clock_is_put_back(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, clock: Clock
) -> None:
    clock.advance(timedelta(days=10))
    certificate.ssl_context()
    clock.advance(timedelta(days=-9))
    certificate.ssl_context()
    assert secrets.calls["DescribeSecret"] == 1


def test_a_check_blocks_nobody_but_the_one_that_makes_it(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, clock: Clock
) -> None:
    certificate._keeper._patience = 60.0  # so that the one that makes it does not give up waiting while this looks
    certificate.ssl_context()
    clock.advance(AN_INTERVAL)
    asked, answer = threading.Event(), threading.Event()
    describe = secrets.describe_secret

    def slow(**request: Any) -> dict[str, Any]:
        asked.set()
        assert answer.wait(10)
        return describe(**request)

    secrets.describe_secret = slow  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as pool:
        checking = pool.submit(certificate.ssl_context)
        assert asked.wait(10)
        for _ in range(3):
            certificate.ssl_context()
        assert not checking.done()
        answer.set()
    assert secrets.calls["DescribeSecret"] == 1


def test_threads_that_come_first_together_share_one_read(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey
) -> None:
    together = threading.Barrier(8)

    def use(_: int) -> str | None:
        together.wait(10)
        return in_use(certificate)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(use, range(8))) == {secrets.current}
    assert secrets.calls == {"GetSecretValue": 1}


@pytest.mark.parametrize(
    "failure",
    [throttled, lambda: EndpointConnectionError(endpoint_url="https://secretsmanager.test"), OSError],
    ids=["throttled", "away", "odd"],
)
def test_a_failed_check_keeps_the_last_good_certificate_and_says_so(
    failure: Callable[[], Exception],
    certificate: ClientCertificate,
    secrets: SecretsManager,
    first: CertifiedKey,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    version = in_use(certificate)
    secrets.failing = error = failure()
    clock.advance(AN_INTERVAL)

    assert in_use(certificate) == version
    status = certificate.status()
    assert status.failures == 1
    assert status.last_error is not None
    assert type(error).__name__ in status.last_error or "ThrottlingException" in status.last_error
    (record,) = (it for it in caplog.records if it.levelno == logging.WARNING)
    assert "stays in use" in record.getMessage()
    assert certificate.refresh() is False

    secrets.failing = None
    clock.advance(AN_INTERVAL)
    certificate.ssl_context()
    assert (certificate.status().failures, certificate.status().last_error) == (0, None)


def test_failures_in_a_row_are_further_and_further_apart_up_to_the_interval(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, clock: Clock
) -> None:
    certificate.ssl_context()
    secrets.failing = throttled()
    clock.advance(AN_INTERVAL)
    pauses = []
    for _ in range(9):
        certificate.ssl_context()
        next_check = certificate.status().next_check
        assert next_check is not None
        pauses.append(next_check - clock.now)
        clock.now = next_check
    assert pauses[0] < timedelta(seconds=6)
    assert all(later > sooner for sooner, later in pairwise(pauses[:7]))
    assert max(pauses) < AN_INTERVAL


def test_a_bad_new_version_is_read_once_and_the_last_good_one_stays(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, second: CertifiedKey, clock: Clock
) -> None:
    good = in_use(certificate)
    bad = secrets.rotate("{}")
    for _ in range(4):
        clock.advance(AN_INTERVAL)
        assert in_use(certificate) == good
    assert bad in str(certificate.status().last_error)
    assert secrets.calls["GetSecretValue"] == 2

    clock.advance(timedelta(days=1))
    better = secrets.rotate(value_of(second))
    assert in_use(certificate) == better
    assert certificate.status().last_error is None


def test_once_it_has_expired_the_error_says_so_and_why_there_is_no_newer_one(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, clock: Clock
) -> None:
    certificate.ssl_context()
    secrets.failing = throttled()
    clock.advance(timedelta(days=31))
    with pytest.raises(ExpiredCertificateError, match=r"expired at .* no newer one: .*ThrottlingException"):
        certificate.ssl_context()
    assert certificate.status().version_id is not None


def test_an_expired_certificate_is_followed_by_the_next_as_soon_as_there_is_one(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, ca: CertifiedKey, clock: Clock
) -> None:
    certificate.ssl_context()
    clock.advance(timedelta(days=31))
    with pytest.raises(ExpiredCertificateError, match="still the current one"):
        certificate.ssl_context()
    version = secrets.rotate(value_of(builders.leaf(ca, now=clock.now)))
    clock.advance(timedelta(seconds=11))
    assert in_use(certificate) == version


def test_without_any_certificate_a_storm_of_requests_asks_once_in_a_while(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, clock: Clock
) -> None:
    secrets.failing = throttled()
    errors = set()
    for _ in range(100):
        with pytest.raises(SecretUnavailableError) as raised:
            certificate.ssl_context()
        errors.add(id(raised.value))
    assert secrets.calls == {"GetSecretValue": 1}
    secrets.failing = None
    clock.advance(timedelta(seconds=11))
    certificate.ssl_context()


def test_a_new_version_that_cannot_be_read_yet_is_taken_when_it_can(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, ca: CertifiedKey, clock: Clock
) -> None:
    before = in_use(certificate)
    after = secrets.rotate(value_of(builders.leaf(ca)))
    secrets.hidden.add(after)
    clock.advance(AN_INTERVAL)
    assert in_use(certificate) == before
    assert "ResourceNotFoundException" in str(certificate.status().last_error)

    secrets.hidden.clear()
    clock.advance(timedelta(seconds=6))  # not a whole interval later
    assert in_use(certificate) == after


def test_a_replica_that_lags_does_not_bring_the_old_version_back(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, ca: CertifiedKey, clock: Clock
) -> None:
    old = in_use(certificate)
    new = secrets.rotate(value_of(builders.leaf(ca)))
    certificate.refresh()
    secrets.described = old

    assert certificate.refresh() is False
    assert certificate.refresh() is False  # that two reads agree says nothing: they may be of one replica
    secrets.described = None
    clock.advance(A_CONFIRMATION)
    assert in_use(certificate) == new
    assert certificate.status().last_error is None
    secrets.described = old  # a doubt that was settled begins afresh
    assert certificate.refresh() is False
    assert secrets.calls["GetSecretValue"] == 2


def test_a_first_read_that_was_newer_than_the_replica_is_kept(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, second: CertifiedKey, clock: Clock
) -> None:
    older = secrets.current
    clock.advance(timedelta(days=1))
    newer = secrets.rotate(value_of(second))
    assert in_use(certificate) == newer
    secrets.described = older  # which this process has never held: its certificate tells that it is older
    assert certificate.refresh() is False
    assert in_use(certificate) == newer


def test_an_operator_who_moves_the_label_back_is_believed_after_half_a_minute(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, ca: CertifiedKey, clock: Clock
) -> None:
    old = in_use(certificate)
    assert old is not None
    new = secrets.rotate(value_of(builders.leaf(ca)))
    clock.advance(AN_INTERVAL)
    assert in_use(certificate) == new

    secrets.current = old
    clock.advance(AN_INTERVAL)
    assert in_use(certificate) == new
    clock.advance(A_CONFIRMATION)
    assert in_use(certificate) == old

    secrets.current = new  # and forward again: it was replaced, so it is doubted as well
    clock.advance(AN_INTERVAL)
    assert in_use(certificate) == old
    clock.advance(A_CONFIRMATION)
    assert in_use(certificate) == new


def test_a_rollback_is_believed_at_once_when_what_is_held_has_expired(
    certificate: ClientCertificate, secrets: SecretsManager, ca: CertifiedKey, clock: Clock
) -> None:
    long = secrets.rotate(value_of(builders.leaf(ca, validity_days=60)))
    certificate.refresh()
    secrets.rotate(value_of(builders.leaf(ca, validity_days=20)))
    certificate.refresh()
    clock.advance(timedelta(days=21))
    secrets.current = long
    assert in_use(certificate) == long


def test_an_interval_that_is_no_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        ClientCertificate("mtls/billing", check_every=timedelta(0))


def test_a_bad_first_version_is_followed_by_a_good_one(
    certificate: ClientCertificate, secrets: SecretsManager, ca: CertifiedKey, clock: Clock
) -> None:
    secrets.rotate("{}")
    with pytest.raises(InvalidSecretError):
        certificate.ssl_context()
    version = secrets.rotate(value_of(builders.leaf(ca)))
    clock.advance(timedelta(seconds=11))
    assert in_use(certificate) == version


def test_a_version_that_is_no_longer_current_when_it_is_read_is_not_taken(
    certificate: ClientCertificate,
    secrets: SecretsManager,
    first: CertifiedKey,
    ca: CertifiedKey,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = in_use(certificate)
    assert held is not None
    secrets.rotate(value_of(builders.leaf(ca)))
    describe = secrets.describe_secret

    def overtaken(**request: Any) -> dict[str, Any]:
        answer = describe(**request)
        secrets.current = held  # an operator moves the label back
        return answer

    monkeypatch.setattr(secrets, "describe_secret", overtaken)
    clock.advance(AN_INTERVAL)
    assert in_use(certificate) == held
    assert "ResourceNotFoundException" in str(certificate.status().last_error)


def test_an_answer_with_another_version_than_was_asked_for_is_not_taken(
    certificate: ClientCertificate,
    secrets: SecretsManager,
    first: CertifiedKey,
    ca: CertifiedKey,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = in_use(certificate)
    asked_for = secrets.rotate(value_of(builders.leaf(ca)))
    other = {"VersionId": "another", "SecretString": value_of(builders.leaf(ca))}
    monkeypatch.setattr(secrets, "get_secret_value", lambda **_: other)
    clock.advance(AN_INTERVAL)
    assert in_use(certificate) == held
    assert f"version another in place of version {asked_for}" in str(certificate.status().last_error)


def test_the_contexts_of_a_new_version_are_ready_before_it_is_taken_into_use(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, ca: CertifiedKey
) -> None:
    pools = Pools(certificate._keeper, to_pem(ca.certificate), lambda context: context)
    pool, _ = pools.enter()
    secrets.rotate(value_of(builders.leaf(ca)))
    certificate.refresh()
    entered = pools.enter_at_once()  # which makes none
    assert entered is not None
    assert entered[0].connections is not pool.connections
