"""The rotation of a CA: with notice, before its time, and out of the truststore when nothing chains to it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from mtls_rotation.contract.labels import end_of_issuing, issues_until
from mtls_rotation.errors import AuthorityRotatingError, OutOfTimeError, ValidityBeyondIssuerError
from mtls_rotation.issuers.api import Authority
from mtls_rotation.issuers.registry import parse_secret
from mtls_rotation.pki import certificates as pki
from mtls_rotation.rotation.ca_renewal import Renewal, renewal_needed
from mtls_rotation.rotation.request import Step
from tests.kit import builders
from tests.kit.fakes import KilledError
from tests.kit.stack import CA, CLIENT, Stack


def ca_of(stack: Stack, version: str | None) -> str:
    """The fingerprint of the CA in a version of the CA secret."""
    return str(stack.value(version, CA)["fingerprint_sha256"])


def issuer_of(stack: Stack, version: str | None) -> str:
    """The fingerprint of the CA that a client version chains to."""
    return pki.fingerprint(pki.from_pem(stack.value(version)["anchor"])[0])


def give_notice(stack: Stack, days: int) -> None:
    current = stack.secrets.record(CA).versions[str(stack.at("AWSCURRENT", CA))]["secret_string"]
    stack.clients.secretsmanager.put_secret_value(
        SecretId=CA, SecretString=builders.changed(current, notice_days=days or None)
    )
    stack.secrets._note_current(stack.secrets.record(CA))


def test_a_new_ca_is_trusted_at_once_and_issues_only_when_its_notice_is_over(stack: Stack) -> None:
    give_notice(stack, 14)
    old = ca_of(stack, stack.at("AWSCURRENT", CA))
    new = ca_of(stack, stack.rotate(CA))

    assert {old, new} <= set(stack.reconcile().plan.anchors)
    stack.pass_time(days=13)
    assert issuer_of(stack, stack.rotate()) == old
    assert {old, new} <= set(stack.reconcile().plan.anchors)
    stack.pass_time(days=1, seconds=1)
    assert issuer_of(stack, stack.rotate()) == new


def test_without_notice_a_new_ca_issues_at_once(stack: Stack) -> None:
    new = ca_of(stack, stack.rotate(CA))
    assert issuer_of(stack, stack.rotate()) == new


def test_a_second_rotation_during_the_notice_leaves_the_ca_that_issues_in_its_place(stack: Stack) -> None:
    give_notice(stack, 14)
    old = ca_of(stack, stack.at("AWSCURRENT", CA))
    stack.rotate(CA)
    stack.pass_time(days=5)
    newest = ca_of(stack, stack.rotate(CA))

    assert issuer_of(stack, stack.rotate()) == old
    stack.pass_time(days=14, seconds=1)
    assert issuer_of(stack, stack.rotate()) == newest


def test_an_edit_of_the_ca_secret_during_the_notice_changes_nothing(stack: Stack) -> None:
    give_notice(stack, 14)
    old = ca_of(stack, stack.at("AWSCURRENT", CA))
    stack.rotate(CA)
    give_notice(stack, 15)

    assert issuer_of(stack, stack.rotate()) == old


def test_a_notice_that_is_cut_short_ends_with_the_next_rotation(stack: Stack) -> None:
    give_notice(stack, 14)
    stack.rotate(CA)
    give_notice(stack, 0)
    newest = ca_of(stack, stack.rotate(CA))
    assert issuer_of(stack, stack.rotate()) == newest

    give_notice(stack, 14)
    stack.rotate(CA)
    assert issuer_of(stack, stack.rotate()) == newest


def test_labels_whose_time_is_over_are_taken_off(stack: Stack) -> None:
    give_notice(stack, 14)
    for _ in range(3):
        stack.rotate(CA)
        stack.pass_time(days=30)
    labels = [label for labels in stack.labels(CA).values() for label in labels if end_of_issuing(label)]

    assert len(labels) == 1


def test_a_label_tells_the_end_of_the_notice() -> None:
    assert end_of_issuing(issues_until(builders.NOW)) == builders.NOW
    assert end_of_issuing("AWSCURRENT") is None
    assert end_of_issuing("MTLS-ISSUES-UNTIL-soon") is None


@pytest.mark.parametrize("step", list(Step))
def test_a_ca_rotation_with_notice_may_be_repeated_at_every_step(stack: Stack, step: Step) -> None:
    give_notice(stack, 14)
    token = stack.begin(CA)
    for each in Step:
        stack.step(each, token, CA)
        if each is step:
            once = stack.labels(CA)
            stack.step(each, token, CA)
            assert stack.labels(CA) == once


def test_an_old_ca_leaves_when_no_client_version_hangs_on_it_although_it_is_awsprevious(stack: Stack) -> None:
    stack.rotate()
    old = ca_of(stack, stack.at("AWSCURRENT", CA))
    new = ca_of(stack, stack.rotate(CA))
    stack.rotate()
    stack.pass_time(hours=2)
    assert old in stack.reconcile().plan.anchors, "AWSPREVIOUS of the client chains to it"

    stack.rotate()
    stack.pass_time(hours=2)
    assert old in stack.reconcile().plan.anchors, "its overlap has begun"
    stack.pass_time(hours=2)
    assert set(stack.reconcile().plan.anchors) == {new}
    assert stack.at("AWSPREVIOUS", CA)


def test_a_ca_that_goes_on_issuing_stays_trusted_although_nothing_hangs_on_it(stack: Stack) -> None:
    give_notice(stack, 14)
    old = ca_of(stack, stack.at("AWSCURRENT", CA))
    stack.rotate(CA)
    for _ in range(3):
        stack.pass_time(days=4)
        assert old in stack.reconcile().plan.anchors
    stack.pass_time(days=4)  # the notice is over, and the overlap begins
    stack.reconcile()
    stack.pass_time(hours=2)
    assert old not in stack.reconcile(force=True).plan.anchors


# before its time ------------------------------------------------------------------------------------------------------


def authority(left: int, *, lifetime: int = 365, notice: int = 0, successor: bool = False) -> Authority:
    ca = builders.root(days=left)
    return Authority(
        reference=CA,
        version_id="1",
        secret=parse_secret(json.dumps(builders.ca_definition()), "the test's secret"),
        certificate=ca.certificate,
        successor_from=builders.NOW if successor else None,
        lifetime=timedelta(days=lifetime),
        notice=timedelta(days=notice),
    )


@pytest.mark.parametrize(
    ("ca", "expected"),
    [
        (authority(30), Renewal.NONE),
        (authority(29), Renewal.BEFORE),
        (authority(29, lifetime=29), Renewal.NONE),
        (authority(43, notice=14), Renewal.AFTER),
        (authority(44, notice=14), Renewal.NONE),
        (authority(20, notice=14), Renewal.BEFORE),
        (authority(20, notice=14, successor=True), Renewal.NONE),
        (authority(40, notice=14, lifetime=40), Renewal.NONE),
    ],
)
def test_a_ca_is_rotated_early_if_it_could_not_issue_and_a_new_one_could(ca: Authority, expected: Renewal) -> None:
    assert renewal_needed(ca, timedelta(days=30), builders.NOW) is expected


def dying(stack: Stack, left: int, **changes: Any) -> None:
    stack.add_ca(builders.root(days=left), **changes)
    stack.add_secret(CLIENT, builders.client_definition())
    stack.reconcile()
    stack.heard()


def carry_out(stack: Stack) -> None:
    """What Secrets Manager does meanwhile: the rotation that was asked for."""
    while stack.secrets.rotations:
        _, token = stack.secrets.rotations.pop()
        for step in Step:
            stack.step(step, token, CA)


def test_a_ca_that_would_expire_before_a_leaf_is_rotated_first_with_an_event(empty_stack: Stack) -> None:
    dying(empty_stack, 20)
    old = empty_stack.at("AWSCURRENT", CA)
    token = empty_stack.begin()
    empty_stack.time.meanwhile.append(lambda: carry_out(empty_stack))
    empty_stack.step(Step.CREATE, token)

    new = empty_stack.at("AWSCURRENT", CA)
    assert new != old
    assert issuer_of(empty_stack, token) == ca_of(empty_stack, new)
    (event,) = empty_stack.heard("Certificate Authority Expiring")
    assert event["detail"]["ca_secret"] == CA
    assert event["detail"]["secret_name"] == CLIENT


def test_a_ca_whose_rotation_does_not_end_in_time_is_waited_for_by_the_next_try(empty_stack: Stack) -> None:
    dying(empty_stack, 20)
    token = empty_stack.begin()
    with pytest.raises(AuthorityRotatingError) as failure:
        empty_stack.step(Step.CREATE, token)
    assert failure.value.retryable
    assert empty_stack.value(token) == {}
    with pytest.raises(AuthorityRotatingError):
        empty_stack.step(Step.CREATE, token)
    assert len({rotation for _, rotation in empty_stack.secrets.rotations}) == 1
    assert len(empty_stack.heard("Certificate Authority Expiring")) == 1

    carry_out(empty_stack)
    empty_stack.step(Step.CREATE, token)
    assert empty_stack.value(token)["certificate"]


def test_a_run_that_is_killed_when_the_early_rotation_has_begun_has_announced_it(empty_stack: Stack) -> None:
    dying(empty_stack, 20)
    empty_stack.secrets.kill_after = "rotate_secret"
    with pytest.raises(KilledError):
        empty_stack.step(Step.CREATE, empty_stack.begin())

    assert len(empty_stack.heard("Certificate Authority Expiring")) == 1


def test_a_ca_that_can_issue_this_one_but_not_the_next_is_rotated_beside_it(empty_stack: Stack) -> None:
    dying(empty_stack, 40, notice_days=14)
    old = ca_of(empty_stack, empty_stack.at("AWSCURRENT", CA))
    assert issuer_of(empty_stack, empty_stack.rotate()) == old
    assert [name for name, _ in empty_stack.secrets.rotations] == [CA]

    carry_out(empty_stack)
    assert issuer_of(empty_stack, empty_stack.rotate()) == old, "the successor is still announced"
    assert empty_stack.secrets.rotations == []


def test_a_ca_that_does_not_rotate_is_an_error_that_says_until_when_it_can_issue(empty_stack: Stack) -> None:
    ca = builders.root(now=empty_stack.now, days=20)
    empty_stack.add_secret(CA, builders.issued_value(builders.ca_definition(), ca), rotates=False)
    empty_stack.add_secret(CLIENT, builders.client_definition())
    with pytest.raises(ValidityBeyondIssuerError, match="20 days or fewer, or rotate the CA stack/ca first"):
        empty_stack.step(Step.CREATE, empty_stack.begin())


# time -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", list(Step))
def test_a_step_that_is_out_of_time_says_so_and_writes_nothing(stack: Stack, step: Step) -> None:
    token = stack.begin()
    for earlier in list(Step)[: list(Step).index(step)]:
        stack.step(earlier, token)
    before = stack.snapshot()
    with pytest.raises(OutOfTimeError) as failure:
        stack.step(step, token, seconds=0)

    assert failure.value.retryable
    assert stack.snapshot() == before
