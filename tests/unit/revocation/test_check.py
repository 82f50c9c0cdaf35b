"""The revocation list as the authorizer asks it: never older than its time to live, and cheap."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError

from mtls_rotation.contract import layout
from mtls_rotation.errors import RevocationUnknownError
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.certificate_id import CertificateId
from mtls_rotation.revocation.check import Moment, RevocationCheck
from mtls_rotation.revocation.known import Known
from tests.kit import builders
from tests.kit.fakes import refused
from tests.kit.stack import BUCKET, Stack

TTL = 60.0


@dataclass
class Asked:
    """A check on a clock that a test moves; S3 counts its calls and can be broken."""

    stack: Stack
    now: float = 1000.0
    frozen: float = 0.0
    broken: Exception | None = None
    takes: float = 0.0
    answers: list[bool] = field(default_factory=list)
    lost: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        newer = self.stack.bucket.newer

        def counted(key: str, known: Any) -> Any:
            if self.broken:
                self.answers.append(False)
                raise self.broken
            found = newer(key, known)
            self.now += self.takes
            self.answers.append(found is not known)
            return found

        self.stack.bucket.newer = counted  # type: ignore[method-assign]

    def check(self, *, fail_open: bool = False, tries: int = 1) -> RevocationCheck:
        return RevocationCheck(
            self.stack.bucket,
            timedelta(seconds=TTL),
            fail_open=fail_open,
            clock=self.clock,
            tries=lambda: range(tries),
            lost=lambda *told: self.lost.append(told),
        )

    def clock(self) -> Moment:
        """The monotonic clock does not count the seconds for which the environment was frozen."""
        return Moment(self.now, 1_790_000_000 + self.now + self.frozen)


@pytest.fixture
def asked(stack: Stack) -> Asked:
    stack.revocation.run()
    return Asked(stack)


def revoke(stack: Stack, ca: pki.CertifiedKey) -> CertificateId:
    leaf = builders.leaf(ca).certificate
    stack.revoke(pki.serial(leaf), pki.to_pem(leaf))
    return Known(stack.bucket).authorities.identify(leaf)


def test_a_revoked_certificate_is_known_within_the_time_to_live(asked: Asked, ca: pki.CertifiedKey) -> None:
    check = asked.check()
    assert check.revoked().listed == frozenset()
    certificate = revoke(asked.stack, ca)
    asked.now += TTL

    assert check.revoked().listed == {certificate}


def test_one_read_serves_half_the_time_to_live_and_an_unchanged_list_is_not_sent_again(asked: Asked) -> None:
    check = asked.check()
    for _ in range(100):
        check.revoked()
    assert asked.answers == [True]
    asked.now += TTL / 2
    for _ in range(100):
        check.revoked()
    assert asked.answers == [True, False]


def test_while_s3_fails_the_list_serves_for_the_rest_of_its_time_and_then_nobody_is_let_in(
    asked: Asked, ca: pki.CertifiedKey
) -> None:
    certificate = revoke(asked.stack, ca)
    check = asked.check()
    check.revoked()
    asked.broken = ConnectTimeoutError(endpoint_url="https://s3")
    asked.now += TTL
    assert check.revoked().listed == {certificate}
    asked.now += 0.1
    with pytest.raises(RevocationUnknownError, match="MTLS-208"):
        check.revoked()

    asked.broken = None
    asked.now += 1.0
    assert check.revoked().listed == {certificate}


def test_by_choice_the_last_list_serves_beyond_its_time(asked: Asked, ca: pki.CertifiedKey) -> None:
    certificate = revoke(asked.stack, ca)
    check = asked.check(fail_open=True)
    check.revoked()
    asked.broken = refused("SlowDown", "GetObject")
    asked.now += 10 * TTL

    assert check.revoked().listed == {certificate}


def test_time_for_which_the_environment_was_frozen_counts(asked: Asked, ca: pki.CertifiedKey) -> None:
    check = asked.check()
    check.revoked()
    certificate = revoke(asked.stack, ca)
    asked.frozen += 600

    assert check.revoked().listed == {certificate}


def test_a_clock_that_was_set_back_makes_nothing_younger(asked: Asked, ca: pki.CertifiedKey) -> None:
    check = asked.check()
    check.revoked()
    certificate = revoke(asked.stack, ca)
    asked.frozen -= 600

    assert check.revoked().listed == {certificate}


def test_the_list_is_as_old_as_the_request_for_it(asked: Asked) -> None:
    asked.takes = TTL
    check = asked.check()
    check.revoked()
    asked.takes, asked.broken = 0.0, refused("SlowDown", "GetObject")
    asked.now += 1

    with pytest.raises(RevocationUnknownError):
        check.revoked()


def test_a_failing_s3_is_not_asked_for_each_request(asked: Asked) -> None:
    asked.broken = refused("SlowDown", "GetObject")
    check = asked.check()
    for _ in range(50):
        with pytest.raises(RevocationUnknownError):
            check.revoked()
    assert len(asked.answers) == 1
    asked.now += 1.0
    asked.broken = None
    assert check.revoked().listed == frozenset()


BROKEN = [None, b"", b"[]", b'{"revoked": [{}]}', b"\xff"]


def break_list(stack: Stack, body: bytes | None) -> None:
    """Somebody deletes the list, or writes over it."""
    if body is None:
        stack.clients.s3.delete_object(Bucket=BUCKET, Key=layout.REVOCATION_LIST)
    else:
        stack.clients.s3.put_object(Bucket=BUCKET, Key=layout.REVOCATION_LIST, Body=body)


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("body", BROKEN)
def test_while_the_list_is_missing_or_broken_what_it_said_last_counts_and_it_is_told(
    asked: Asked, ca: pki.CertifiedKey, body: bytes | None, warm: bool
) -> None:
    certificate = revoke(asked.stack, ca)
    check = asked.check()
    if warm:
        check.revoked()
    break_list(asked.stack, b"nonsense")
    break_list(asked.stack, body)
    for count in range(1, 4):
        asked.now += TTL
        assert check.revoked().listed == {certificate}
        assert [uri for uri, _ in asked.lost] == [f"s3://{BUCKET}/{layout.REVOCATION_LIST}"] * count
        asked.now += 300 - TTL

    later = revoke(asked.stack, ca)
    asked.now += TTL
    assert check.revoked().listed == {certificate, later}
    assert len(asked.lost) == 3


def test_one_environment_tells_of_a_lost_list_once_in_five_minutes(asked: Asked) -> None:
    check = asked.check()
    check.revoked()
    break_list(asked.stack, None)
    for _ in range(10):
        asked.now += TTL / 2
        check.revoked()

    assert len(asked.lost) == 1
    asked.now += TTL / 2
    check.revoked()
    assert len(asked.lost) == 2


def test_a_list_that_may_not_be_read_any_more_may_be_one_that_is_gone(asked: Asked, ca: pki.CertifiedKey) -> None:
    """S3 says so of an object that is gone, to whoever may not list the bucket."""
    certificate = revoke(asked.stack, ca)
    asked.broken = refused("AccessDenied", "GetObject")

    assert asked.check().revoked().listed == {certificate}
    assert len(asked.lost) == 1


@pytest.mark.parametrize("body", BROKEN)
def test_a_list_of_which_no_version_can_be_read_lets_nobody_in(asked: Asked, body: bytes | None) -> None:
    for version in list(asked.stack.bucket.versions(layout.REVOCATION_LIST)):
        asked.stack.clients.s3.delete_object(Bucket=BUCKET, Key=layout.REVOCATION_LIST, VersionId=version)
    break_list(asked.stack, body)

    with pytest.raises(RevocationUnknownError):
        asked.check().revoked()
    assert asked.lost == []


def test_versions_without_end_that_cannot_be_read_are_not_all_looked_at(asked: Asked) -> None:
    for _ in range(25):
        break_list(asked.stack, b"nonsense")
    read: list[str] = []
    one = asked.stack.bucket.read

    def counted(key: str, version_id: str | None = None) -> Any:
        read.append(key)
        return one(key, version_id)

    asked.stack.bucket.read = counted  # type: ignore[method-assign]
    with pytest.raises(RevocationUnknownError):
        asked.check().revoked()
    assert len(read) <= 21
