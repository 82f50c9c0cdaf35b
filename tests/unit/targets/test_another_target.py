"""A further kind of target touches nothing but its own module and one line of the registry: a toy shows it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from mtls_rotation.contract.layout import TRUSTSTORE
from mtls_rotation.errors import DomainBusyError, InvalidSettingsError, TruststoreGuardError
from mtls_rotation.pki import bundles
from mtls_rotation.pki import certificates as pki
from mtls_rotation.targets import registry
from mtls_rotation.targets.api import (
    Anchors,
    Edition,
    Evidence,
    Lane,
    Limits,
    ObjectVersion,
    Receipt,
    Revision,
    Running,
    anchors_of,
)
from tests.kit import builders
from tests.kit.stack import BUCKET, DOMAIN, Stack

KEY = "truststore-toy.pem"
ARN = "arn:aws:toy:us-east-1:123456789012:balancer/a"
# It takes certificates of whatever date, and a few; an update takes effect at once.
LIMITS = Limits(name="Toy", key=KEY, rules=(), capacity=3, chain=8, quota="the toy's quota")
LANE = Lane("toy", interval=timedelta(seconds=10), effect_within=timedelta(0))


class Toy:
    """Hands its certificates back, as load balancers do."""

    limits = LIMITS
    lane = LANE
    running_now: ClassVar[dict[str, bytes]] = {}
    updates: ClassVar[list[tuple[str, str]]] = []
    busy = False

    def __init__(self, name: str) -> None:
        self.name = name

    def running(self) -> Running | None:
        return Running(Anchors(bundles.fingerprints(self.running_now.get(self.name, b""))))

    def run(self, edition: Edition, replacing: Running) -> None:
        if Toy.busy:
            raise DomainBusyError(where=self.name, found="busy", retry_after=3)
        self.updates.append((self.name, edition.key))
        self.running_now[self.name] = edition.body


def create(_: Any, arn: str, __: int) -> Toy:
    return Toy(arn)


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.MODULES, "toy", __name__)
    monkeypatch.setattr(Toy, "running_now", {})
    monkeypatch.setattr(Toy, "updates", [])
    monkeypatch.setattr(Toy, "busy", False)


@pytest.fixture
def gateway(stack: Stack) -> Stack:
    """A gateway with a toy beside it, whose certificates were all issued long ago."""
    stack.with_gateway()
    stack.add_targets(ARN)
    stack.pass_time(hours=2)
    return stack


def upload(stack: Stack, *, expired: bool = False, name: str = "partner") -> str:
    """An operator's anchor; its fingerprint. API Gateway takes none that has expired."""
    days = timedelta(days=-1 if expired else 30)
    anchor = builders.foreign(
        common_name=name, not_before=stack.moment - timedelta(days=400), not_after=stack.moment + days
    )
    stack.clients.s3.put_object(Bucket=BUCKET, Key=f"anchors/static/{name}.pem", Body=pki.to_pem(anchor).encode())
    return pki.fingerprint(anchor)


def add_client(stack: Stack, name: str) -> str:
    """A client secret with a certificate by a CA of its own; the CA's fingerprint."""
    authority = builders.root(name)
    leaf = builders.leaf(authority)
    stack.file(leaf, name, stack.add_secret(name, builders.issued_value(builders.client_definition(), leaf)))
    return pki.fingerprint(authority.certificate)


def in_toy(name: str = ARN) -> frozenset[str]:
    return bundles.fingerprints(Toy.running_now.get(name, b""))


def test_each_kind_gets_its_own_edition_and_what_only_one_takes_is_in_that_one_alone(
    gateway: Stack, ca: pki.CertifiedKey
) -> None:
    only_toys, both = upload(gateway, expired=True, name="old"), upload(gateway)
    result = gateway.reconcile()

    ours = pki.fingerprint(ca.certificate)
    assert gateway.deployed() == {ours, both}
    assert in_toy() == bundles.fingerprints(gateway.objects()[KEY]) == {ours, both, only_toys}
    assert set(result.updated) == {DOMAIN, ARN}
    assert (result.behind, result.retry_after) == ((), None)
    (rejected,) = gateway.heard("Truststore Anchor Rejected")
    assert rejected["detail"]["truststore_uri"] == f"s3://{BUCKET}/{TRUSTSTORE}"


def test_each_published_edition_is_announced(gateway: Stack) -> None:
    gateway.reconcile()
    gateway.heard()
    upload(gateway)
    gateway.reconcile()

    published = {event["detail"]["truststore_uri"] for event in gateway.heard("Truststore Published")}
    assert published == {f"s3://{BUCKET}/{TRUSTSTORE}", f"s3://{BUCKET}/{KEY}"}


def test_a_second_reconcile_writes_nothing_and_updates_no_target(gateway: Stack) -> None:
    gateway.reconcile()
    before = gateway.objects()
    result = gateway.reconcile()

    assert gateway.objects() == before
    assert (result.updated, len(Toy.updates)) == ((), 1)


def test_each_lane_keeps_its_own_interval_and_a_slow_one_brakes_no_other(gateway: Stack) -> None:
    other = f"{ARN}b"
    gateway.add_targets(other)
    upload(gateway)
    first = gateway.reconcile()
    assert set(first.updated) == {DOMAIN, ARN}
    assert (first.behind, first.retry_after) == ((other,), 10)

    upload(gateway, name="newer")
    gateway.pass_time(seconds=11)
    second = gateway.reconcile()
    assert second.updated == (other,)
    assert set(second.behind) == {DOMAIN, ARN}, "of the gateway's 30 seconds 11 are over"


def test_a_busy_target_of_one_kind_holds_up_none_of_the_other(gateway: Stack) -> None:
    newer = upload(gateway)
    Toy.busy = True
    result = gateway.reconcile()

    assert newer in gateway.deployed()
    assert (result.updated, result.behind, result.retry_after) == ((DOMAIN,), (ARN,), 3)


def test_a_guard_stops_one_edition_and_not_the_others(gateway: Stack) -> None:
    gateway.reconcile()
    gateway.heard()
    before = in_toy()
    new = {add_client(gateway, f"stack/client-{number}") for number in range(3)}
    gateway.pass_time(seconds=31)
    with pytest.raises(TruststoreGuardError, match="4 certificates, where 3 are allowed"):
        gateway.reconcile()

    assert new <= gateway.deployed()
    assert in_toy() == before
    (stopped,) = gateway.heard("Truststore Publish Stopped")
    assert stopped["detail"]["truststore_uri"] == f"s3://{BUCKET}/{KEY}"


def test_an_edition_of_more_bytes_than_its_targets_take_is_not_published(
    gateway: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Toy, "limits", replace(LIMITS, size=100))
    with pytest.raises(TruststoreGuardError, match="bytes, where 100 are allowed"):
        gateway.reconcile()

    assert KEY not in gateway.objects()


def test_a_toy_whose_anchors_were_changed_by_hand_is_brought_back_and_that_is_announced(gateway: Stack) -> None:
    gateway.reconcile()
    gateway.heard()
    Toy.running_now[ARN] = pki.to_pem(builders.foreign(common_name="Planted")).encode()
    gateway.pass_time(seconds=11)
    result = gateway.reconcile()

    assert result.drifted == (ARN,)
    (event,) = gateway.heard("Truststore Drift")
    assert event["detail"]["domain_name"] == ARN
    assert in_toy() == bundles.fingerprints(gateway.objects()[KEY])


def test_an_arn_of_a_service_without_a_module_is_refused_with_what_may_stand_there(gateway: Stack) -> None:
    gateway.add_targets("arn:aws:other:us-east-1:1:x/y")
    with pytest.raises(InvalidSettingsError, match=r"an ARN of apigateway\b.* or toy"):
        gateway.reconcile()


# which anchors do you run? --------------------------------------------------------------------------------------------

URI = "s3://b/truststore.pem"
TOLD = Receipt(URI, "v1", "", "toy", builders.NOW, revision="r1")


@pytest.mark.parametrize(
    ("evidence", "receipt", "trusted"),
    [
        (ObjectVersion(URI, "v1"), None, {"a"}),
        (ObjectVersion(URI, "gone"), None, None),
        (Anchors(frozenset({"b"})), None, {"b"}),
        (Revision("r1"), TOLD, {"a"}),
        (Revision("r2"), TOLD, None),
        (Revision("r1"), None, None),
    ],
)
def test_which_anchors_a_target_runs_is_told_by_its_evidence_or_not_at_all(
    evidence: Evidence, receipt: Receipt | None, trusted: set[str] | None
) -> None:
    catalogue = {ObjectVersion(URI, "v1"): frozenset({"a"})}
    assert anchors_of(Running(evidence), receipt, catalogue.get) == trusted
