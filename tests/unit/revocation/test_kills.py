"""A run of the revocation that is killed at its worst moments, and what the next one makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mtls_rotation.contract import layout
from mtls_rotation.pki import certificates as pki
from mtls_rotation.revocation.state import RevocationState
from mtls_rotation.rotation.request import Step
from tests.kit.fakes import KilledError
from tests.kit.stack import BUCKET, CLIENT, Stack


def upload(stack: Stack, body: str, name: str = "lost.pem") -> None:
    stack.clients.s3.put_object(Bucket=BUCKET, Key=f"revoked/{name}", Body=body.encode())


def killed(monkeypatch: pytest.MonkeyPatch, stack: Stack, where: Any, call: str, *, after: bool = False) -> None:
    """A run that ends at a call."""

    def die(*arguments: Any, **request: Any) -> None:
        if after:
            once(*arguments, **request)
        raise KilledError(call)

    once: Callable[..., Any] = getattr(where, call)
    with monkeypatch.context() as patch:
        patch.setattr(where, call, die)
        with pytest.raises(KilledError):
            stack.revocation.run()


@pytest.mark.parametrize("ran_before", [False, True])
def test_what_a_killed_run_had_on_the_list_is_announced_by_the_next(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, ran_before: bool
) -> None:
    leaf = stack.certificate(stack.rotate())
    if ran_before:
        stack.revocation.run()
    upload(stack, pki.to_pem(leaf))
    upload(stack, "nonsense", "bad.pem")
    stack.heard()
    killed(monkeypatch, stack, stack.bus, "put_all")
    assert stack.bucket.read(layout.REVOCATION_LIST)
    stack.revocation.run()

    told = stack.heard()
    (revoked,) = [it for it in told if it["detail-type"] == "Certificate Revoked"]
    assert revoked["detail"]["serial_number"] == pki.serial(leaf)
    assert len([it for it in told if it["detail-type"] == "Revocation Refused"]) == 1
    stack.revocation.run()
    assert stack.heard() == []


def test_a_notice_that_was_taken_back_is_announced_although_the_run_was_killed(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaf = stack.certificate(stack.rotate())
    upload(stack, pki.to_pem(leaf))
    stack.revocation.run()
    stack.clients.s3.delete_object(Bucket=BUCKET, Key="revoked/lost.pem")
    killed(monkeypatch, stack, stack.bus, "put_all")
    stack.heard()
    stack.revocation.run()

    (event,) = stack.heard("Revocation Withdrawn")
    assert event["detail"]["serial_number"] == pki.serial(leaf)


def test_a_crl_whose_maker_was_killed_is_announced_by_the_next_run(
    stack: Stack, ca: pki.CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(monkeypatch, stack, stack.bus, "put")
    key = layout.crl_key(pki.fingerprint(ca.certificate))
    assert stack.object_versions(key) == 1
    result = stack.revocation.run()

    assert (result.crls, stack.object_versions(key)) == ((), 1)
    (event,) = stack.heard("Revocation List Published")
    assert event["detail"]["uri"].endswith(key)
    stack.revocation.run()
    assert stack.heard() == []


@pytest.mark.parametrize(("call", "after"), [("drop_pending", True), ("rotate", False), ("rotate", True)])
def test_a_revoked_pending_version_that_was_given_up_has_its_successor_although_the_run_was_killed(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, call: str, after: bool
) -> None:
    stack.rotate()
    stack.revocation.run()
    token = stack.begin()
    stack.step(Step.CREATE, token)
    upload(stack, pki.to_pem(stack.certificate(token)))
    killed(monkeypatch, stack, stack.versions, call, after=after)
    stack.revocation.run()

    (successor,) = {version for _, version in stack.secrets.rotations}
    assert successor != token
    assert stack.at("AWSPENDING") == successor
    for step in Step:
        stack.step(step, successor)
    assert stack.revocation.run().rotated == ()
    assert stack.labels().keys() & {token} == set()


def test_a_given_up_version_whose_rotation_is_switched_off_is_a_problem_in_every_run(stack: Stack) -> None:
    stack.rotate()
    token = stack.begin()
    stack.step(Step.CREATE, token)
    stack.secrets.record(CLIENT).rotation_enabled = False
    first = stack.revoke("lost.pem", pki.to_pem(stack.certificate(token)))
    second = stack.revocation.run()
    assert "rotation is switched off" in first.problems[0]
    assert second.problems == first.problems

    stack.secrets.record(CLIENT).rotation_enabled = True
    assert stack.revocation.run().rotated == (CLIENT,)
    assert stack.revocation.run().problems == ()


@pytest.mark.parametrize("broken", [b"{}", b"nonsense", b'{"announced": {}, "crls": {}, "given_up": []}'])
def test_notes_that_somebody_broke_are_begun_anew_and_nothing_is_announced_again(stack: Stack, broken: bytes) -> None:
    stack.revoke("lost.pem", pki.to_pem(stack.certificate(stack.rotate())))
    stack.heard()
    stack.clients.s3.put_object(Bucket=BUCKET, Key=layout.REVOCATION_NOTES, Body=broken)
    result = stack.revocation.run()

    assert result.crls == ()
    assert stack.heard("Certificate Revoked") == stack.heard("Revocation List Published") == []
    stored = stack.bucket.read(layout.REVOCATION_NOTES)
    assert stored
    assert RevocationState.parse(stored.body)
