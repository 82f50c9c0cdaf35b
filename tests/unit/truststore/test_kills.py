"""A sync that is killed at its worst moments, and what the next one makes of it; and what the bucket forgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mtls_rotation.contract import layout
from mtls_rotation.pki import certificates as pki
from mtls_rotation.rotation.request import Step
from mtls_rotation.truststore.state import SyncState
from tests.kit import builders
from tests.kit.fakes import KilledError
from tests.kit.stack import BUCKET, CA, CLIENT, DOMAIN, Stack

OTHER_DOMAIN = "partners.example.com"


@pytest.fixture
def gateway(stack: Stack) -> Stack:
    stack.with_gateway()
    stack.reconcile()
    stack.heard()
    return stack


def killed(monkeypatch: pytest.MonkeyPatch, stack: Stack, where: Any, call: str, *, after: bool = False) -> None:
    """A sync that ends at a call."""

    def die(*arguments: Any, **request: Any) -> None:
        if after:
            once(*arguments, **request)
        raise KilledError(call)

    once: Callable[..., Any] = getattr(where, call)
    with monkeypatch.context() as patch:
        patch.setattr(where, call, die)
        with pytest.raises(KilledError):
            stack.reconcile()


def upload(stack: Stack, name: str) -> str:
    """An operator's bundle; the fingerprint of the anchor in it."""
    anchor = builders.root(name).certificate
    body = pki.to_pem(anchor).encode()
    stack.clients.s3.put_object(Bucket=BUCKET, Key=f"{layout.STATIC_ANCHORS}{name}.pem", Body=body)
    return pki.fingerprint(anchor)


def test_a_truststore_whose_publisher_was_killed_is_announced_by_the_next_run_with_what_is_new(
    gateway: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = upload(gateway, "newer")
    killed(monkeypatch, gateway, gateway.bus, "put_all")
    assert newer in gateway.published()
    gateway.reconcile()

    (event,) = gateway.heard("Truststore Published")
    assert event["detail"]["added"] == [newer]
    assert event["detail"]["version_id"] == gateway.bucket.newest(layout.TRUSTSTORE)
    gateway.reconcile()
    assert gateway.heard("Truststore Published") == []


def test_a_truststore_whose_publisher_was_killed_before_it_explained_it_is_explained_by_the_next_run(
    gateway: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def about(version: str | None) -> bool:
        return f"version: {version}".encode() in gateway.objects()["truststore.txt"].splitlines()

    before = gateway.bucket.newest(layout.TRUSTSTORE)
    newer = upload(gateway, "newer")
    killed(monkeypatch, gateway, gateway.bucket, "put")
    after = gateway.bucket.newest(layout.TRUSTSTORE)
    assert newer in gateway.published()
    assert (about(before), about(after)) == (True, False), "the text before says what it is about"
    gateway.reconcile()

    assert about(after)
    assert gateway.bucket.newest(layout.TRUSTSTORE) == after


def test_that_somebody_wrote_over_the_truststore_is_said_although_the_run_that_saw_it_was_killed(
    gateway: Stack, ca: pki.CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = pki.to_pem(ca.certificate).encode()
    theirs = gateway.clients.s3.put_object(Bucket=BUCKET, Key=layout.TRUSTSTORE, Body=body)["VersionId"]
    killed(monkeypatch, gateway, gateway.bus, "put_all")
    gateway.reconcile()

    (event,) = gateway.heard("Truststore Drift")
    assert event["detail"]["found_version_id"] == theirs


def test_a_run_after_one_that_was_killed_at_an_update_leaves_the_account_its_thirty_seconds(
    gateway: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.add_domains(OTHER_DOMAIN)
    upload(gateway, "newer")
    killed(monkeypatch, gateway, gateway.gateway, "update_domain_name", after=True)
    gateway.gateway.settle()
    result = gateway.reconcile()

    assert gateway.gateway.update_calls == 1
    assert len(result.behind) == 1
    assert result.retry_after == 30
    gateway.pass_time(seconds=30)
    assert gateway.reconcile().behind == ()


@pytest.mark.parametrize("after", [False, True])
def test_what_a_killed_run_told_a_domain_or_did_not_is_no_drift(
    gateway: Stack, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    upload(gateway, "newer")
    killed(monkeypatch, gateway, gateway.gateway, "update_domain_name", after=after)
    gateway.gateway.settle()
    upload(gateway, "newest")
    gateway.pass_time(seconds=30)

    assert gateway.reconcile().drifted == ()
    assert gateway.heard("Truststore Drift") == []
    assert gateway.deployed() == gateway.published()


def test_what_was_told_is_confirmed_once_it_has_happened(gateway: Stack) -> None:
    upload(gateway, "newer")
    gateway.reconcile()
    stored = gateway.bucket.read(layout.SYNC_NOTES)
    assert stored
    receipt = SyncState.parse(stored.body).receipts[DOMAIN]
    assert (receipt.version_id, receipt.confirmed) == (gateway.gateway.domains[DOMAIN].version_id, True)


# forgetting -----------------------------------------------------------------------------------------------------------


def outside(stack: Stack) -> list[str]:
    """The versions that are filed under outside/."""
    keys = map(layout.OutsideKey.parse, stack.objects())
    return sorted(it.version_id for it in keys if it)


@pytest.fixture(params=["with a gateway", "known elsewhere only"])
def elsewhere(request: pytest.FixtureRequest, empty_stack: Stack, ca: pki.CertifiedKey) -> Stack:
    """A client that a partner's server knows, with a version that nobody holds any more."""
    empty_stack.add_ca(ca)
    if request.param == "with a gateway":
        empty_stack.reconcile()
        empty_stack.with_gateway()
    else:
        empty_stack.clients.s3.delete_object(Bucket=BUCKET, Key=next(iter(_issued(empty_stack))))
    empty_stack.add_secret(CLIENT, builders.client_definition(trusted_by_gateway=False))
    for _ in range(3):
        empty_stack.rotate()
    return empty_stack


def _issued(stack: Stack) -> list[str]:
    return [key for key in stack.objects() if key.startswith(layout.ISSUED)]


def test_what_no_label_names_leaves_outside_after_thirty_days(elsewhere: Stack) -> None:
    labelled = sorted(version for version in elsewhere.labels() if elsewhere.value(version).get("certificate"))
    elsewhere.pass_time(days=29)
    elsewhere.reconcile()
    assert len(outside(elsewhere)) == 3
    elsewhere.pass_time(days=1, minutes=10)
    elsewhere.reconcile()
    assert outside(elsewhere) == labelled
    assert len(labelled) == 2


def test_a_version_that_was_edited_by_hand_keeps_whatever_lies_outside_for_its_secret(elsewhere: Stack) -> None:
    value = elsewhere.secrets.record(CLIENT).versions[str(elsewhere.at("AWSCURRENT"))]["secret_string"]
    elsewhere.clients.secretsmanager.put_secret_value(SecretId=CLIENT, SecretString=builders.changed(value, owner="me"))
    elsewhere.pass_time(days=31)
    elsewhere.reconcile()
    assert len(outside(elsewhere)) == 3


def test_an_anchor_that_nothing_hangs_on_leaves_the_bucket_with_its_crl_and_one_in_use_stays(gateway: Stack) -> None:
    old = pki.fingerprint(gateway.certificate(gateway.at("AWSCURRENT", CA), CA))
    gateway.revocation.run()
    gateway.rotate()
    for _ in range(2):
        token = gateway.begin(CA)
        gateway.step(Step.CREATE, token, CA)
        gateway.reconcile()
        for step in Step:
            gateway.step(step, token, CA)
        gateway.pass_time(minutes=1)
    gateway.rotate()
    gateway.rotate()
    in_use = pki.fingerprint(gateway.certificate(gateway.at("AWSCURRENT", CA), CA))
    for _ in range(4):
        gateway.pass_time(days=10, hours=2)
        gateway.reconcile(force=True)
        gateway.pass_time(hours=2)
        gateway.reconcile(force=True)

    keys = set(gateway.objects())
    assert layout.managed_anchor_key(in_use) in keys
    assert not {layout.managed_anchor_key(old), layout.crl_key(old)} & keys
    assert in_use in gateway.deployed()


def test_nothing_is_deleted_where_nothing_is_old(gateway: Stack) -> None:
    gateway.rotate()
    gateway.rotate()
    gateway.rotate()
    before = set(gateway.objects())
    gateway.pass_time(days=29)
    gateway.reconcile()
    assert before <= set(gateway.objects())
