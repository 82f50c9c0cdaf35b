"""A domain name that is slow, has failed, or waits for somebody: nobody is refused, and it is told and tried again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mtls_rotation.errors import TruststoreGuardError, TruststoreNotDeployedError
from mtls_rotation.pki import certificates as pki
from mtls_rotation.rotation.request import Step
from mtls_rotation.truststore.rollout import TELL_AGAIN, come_again
from tests.kit import builders, losses
from tests.kit.stack import BUCKET, CA, CLIENT, DOMAIN, Stack

# What `DomainNameStatus` has besides AVAILABLE and UPDATING, in botocore's model.
OTHER_STATES = ("PENDING", "PENDING_CERTIFICATE_REIMPORT", "PENDING_OWNERSHIP_VERIFICATION", "FAILED")
# setSecret's, but for what it keeps to report.
STEP_SECONDS = 890.0


@pytest.fixture
def gateway(stack: Stack) -> Stack:
    stack.reconcile()
    stack.with_gateway()
    stack.heard()
    return stack


def upload(stack: Stack, name: str = "partner") -> str:
    partner = builders.foreign(common_name=name)
    body = pki.to_pem(partner).encode()
    stack.clients.s3.put_object(Bucket=BUCKET, Key=f"anchors/static/{name}.pem", Body=body)
    return pki.fingerprint(partner)


def set_state(stack: Stack, status: str, message: str = "") -> None:
    domain = stack.gateway.domains[DOMAIN]
    domain.status, domain.message = status, message


@pytest.mark.parametrize("status", OTHER_STATES)
def test_a_domain_in_another_state_is_updated_and_comes_out_of_it(gateway: Stack, status: str) -> None:
    partner = upload(gateway)
    set_state(gateway, status)
    result = gateway.reconcile()

    assert (result.updated, dict(result.stuck), result.retry_after) == ((DOMAIN,), {}, None)
    assert partner in gateway.served()


@pytest.mark.parametrize("status", OTHER_STATES)
def test_an_anchor_counts_as_deployed_only_once_the_domain_is_available(gateway: Stack, status: str) -> None:
    token = gateway.begin()
    gateway.step(Step.CREATE, token)
    set_state(gateway, status, "the certificate was not found")
    with pytest.raises(TruststoreNotDeployedError, match=f"which is {status}: the certificate was not found"):
        gateway.step(Step.SET, token)

    set_state(gateway, "AVAILABLE")
    gateway.step(Step.SET, token)


def test_a_failed_update_is_told_once_and_tried_again_at_a_pace_that_leaves_the_rate_to_others(gateway: Stack) -> None:
    partner, before = upload(gateway), gateway.served()
    gateway.gateway.fails = "the truststore could not be read"
    result = gateway.reconcile()

    assert (result.updated, result.retry_after) == ((DOMAIN,), TELL_AGAIN.total_seconds())
    assert result.stuck == {DOMAIN: "FAILED: the truststore could not be read"}
    (event,) = gateway.heard("Truststore Domain Stuck")
    assert event["detail"] == {
        "domain_name": DOMAIN,
        "status": "FAILED",
        "message": "the truststore could not be read",
        "truststore_uri": gateway.bucket.truststore_uri,
        "version_id": result.version_id,
    }
    assert gateway.served() == before

    gateway.pass_time(seconds=31)
    assert gateway.reconcile().updated == ()
    assert gateway.heard("Truststore Domain Stuck") == []

    gateway.pass_time(seconds=TELL_AGAIN.total_seconds())
    gateway.gateway.fails = None
    assert gateway.reconcile().updated == (DOMAIN,)
    assert partner in gateway.served()
    assert gateway.reconcile().stuck == {}


def test_a_domain_that_is_locked_fails_no_sync_and_is_tried_again_when_somebody_has_mended_it(gateway: Stack) -> None:
    partner = upload(gateway)
    set_state(gateway, "PENDING_OWNERSHIP_VERIFICATION", "the ownership certificate has expired")
    gateway.gateway.locks = "All updates are locked."
    result = gateway.reconcile()

    assert (result.updated, result.behind, result.retry_after) == ((), (DOMAIN,), TELL_AGAIN.total_seconds())
    assert result.stuck == {DOMAIN: "PENDING_OWNERSHIP_VERIFICATION: the ownership certificate has expired"}
    asked = gateway.gateway.update_calls
    gateway.pass_time(seconds=60)
    gateway.reconcile()
    assert gateway.gateway.update_calls == asked, "a refused update counts towards the account's rate"

    gateway.gateway.locks = None
    gateway.pass_time(seconds=TELL_AGAIN.total_seconds())
    gateway.reconcile()
    assert partner in gateway.served()


def test_a_domain_that_does_not_say_which_version_it_runs_is_told_and_counts_as_deployed_only_then(
    gateway: Stack,
) -> None:
    """It runs what was the latest when it was made or updated."""
    gateway.gateway.domains[DOMAIN].version_id = None
    token = gateway.begin()
    gateway.step(Step.CREATE, token)
    with pytest.raises(TruststoreNotDeployedError):
        gateway.step(Step.SET, token)

    assert gateway.reconcile().updated == (DOMAIN,)
    gateway.step(Step.SET, token)


# an update that lasts -------------------------------------------------------------------------------------------------


class Patience:
    """Secrets Manager and the queue, while a rotation waits for a domain: each goes on as it does on AWS.

    The queue hands its message out again when the sync has said so, and gives it up after `maxReceiveCount`.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._due: float | None = None
        self.receives = 0
        self.most_receives = 0
        self.syncs: list[Any] = []
        stack.time.meanwhile.append(self._look)

    def _look(self) -> None:
        if self._stack.heard("Truststore Sync Requested"):
            self._due, self.receives = self._stack.time.now, 0
        if self._due is None or self._stack.time.now < self._due:
            return
        self._stack.time.meanwhile.remove(self._look)
        try:
            result = self._stack.sync.run(self._stack.time.deadline(0.0))
        finally:
            self._stack.time.meanwhile.append(self._look)
        self.receives += 1
        self.most_receives = max(self.most_receives, self.receives)
        self.syncs.append(result)
        again = result.retry_after
        if again is not None and not result.updated:
            again = come_again(again, self.receives)
        self._due = None if again is None else self._stack.time.now + again

    def rest(self, seconds: float) -> None:
        """Nobody waits for anything; the queue goes on."""
        until = self._stack.time.now + seconds
        while self._stack.time.now < until:
            self._stack.time.sleep(30.0)


@pytest.mark.parametrize("minutes", [10, 60])
def test_a_rotation_outlasts_a_domain_that_is_updating_for_long_and_nobody_is_refused(
    gateway: Stack, ca: pki.CertifiedKey, minutes: int
) -> None:
    """Requests are checked against the old truststore meanwhile."""
    gateway.gateway.update_time = timedelta(minutes=minutes)
    queue = Patience(gateway)
    old = gateway.at("AWSCURRENT")
    new_ca = gateway.begin(CA)
    for step in (Step.CREATE, Step.SET, Step.TEST, Step.FINISH):
        _until_it_is_done(gateway, step, new_ca, CA)
    token = gateway.begin()
    for step in (Step.CREATE, Step.SET):
        assert gateway.at("AWSCURRENT") == old
        _until_it_is_done(gateway, step, token, CLIENT)

    anchor = pki.fingerprint(gateway.certificate(new_ca, CA))
    assert {pki.fingerprint(ca.certificate), anchor} <= gateway.served(), "nothing is removed early"
    assert queue.most_receives < 60, "the queue would have given the request up"
    queue.rest(minutes * 60.0)
    assert queue.syncs[-1].retry_after is None, "a sync has seen how the update ended"


def test_what_waits_behind_an_update_of_an_hour_is_not_given_up_by_the_queue(gateway: Stack) -> None:
    """Nobody asks again, as a rotation would: an operator has uploaded two bundles in a row."""
    gateway.gateway.update_time = timedelta(hours=1)
    upload(gateway, "first")
    queue = Patience(gateway)
    gateway.bus.put("Truststore Sync Requested", {})
    queue.rest(60)
    second = upload(gateway, "second")
    queue.rest(2.5 * 3600)

    assert second in gateway.served()
    assert queue.most_receives < 60


def _until_it_is_done(stack: Stack, step: Step, token: str, secret: str) -> None:
    """As Secrets Manager, which tries a failed step again; how often, it does not say."""
    for _ in range(20):
        try:
            stack.step(step, token, secret, seconds=STEP_SECONDS)
        except TruststoreNotDeployedError as error:
            assert "which is UPDATING" in str(error) or "truststore without" in str(error)  # noqa: PT017
        else:
            return
    pytest.fail(f"{step} never ended")


def test_a_rotation_that_secrets_manager_has_given_up_is_gone_on_with_by_the_next(gateway: Stack) -> None:
    gateway.gateway.update_time = timedelta(hours=1)
    token = gateway.begin(CA)
    gateway.step(Step.CREATE, token, CA)
    gateway.sync.run(gateway.time.deadline(0.0))
    with pytest.raises(TruststoreNotDeployedError, match="UPDATING"):
        gateway.step(Step.SET, token, CA, seconds=STEP_SECONDS)
    gateway.pass_time(days=2)
    gateway.reconcile()
    anchor = pki.fingerprint(gateway.certificate(token, CA))
    assert anchor in gateway.served(), "what is at AWSPENDING stays trusted"

    for step in Step:  # RotateSecret takes an open rotation up again, with its token
        gateway.step(step, token, CA)
    assert gateway.at("AWSCURRENT", CA) == token


def test_an_update_that_lasts_longer_than_a_run_is_looked_at_until_it_is_over(gateway: Stack) -> None:
    """It may fail yet."""
    upload(gateway)
    gateway.gateway.update_time = timedelta(minutes=10)
    gateway.sync.run(gateway.time.deadline(0.0))
    assert gateway.sync.run(gateway.time.deadline(0.0)).retry_after == 30

    gateway.gateway.fails = "the truststore could not be read"
    gateway.pass_time(minutes=10)
    assert gateway.sync.run(gateway.time.deadline(0.0)).stuck


def test_a_domain_that_is_stuck_keeps_no_guard_from_being_told(gateway: Stack) -> None:
    set_state(gateway, "FAILED")
    gateway.gateway.fails = "again"
    losses.destroy(gateway, "truststore.pem")
    with pytest.raises(TruststoreGuardError):
        gateway.reconcile()
