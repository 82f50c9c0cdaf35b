"""What certificates, CAs and anchors have left: decided from what a sync saw, and nothing read for it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from mtls_rotation.aws.certificate_index import FiledCertificate
from mtls_rotation.contract.layout import OutsideKey
from mtls_rotation.pki import certificates as pki
from mtls_rotation.truststore.expiry import Expiry, Remaining, measure
from mtls_rotation.truststore.observation import Observation
from mtls_rotation.truststore.plan import Anchor, Reason, Why
from tests.kit import builders
from tests.kit.stack import CA, CLIENT, NAME, Stack

NOW = builders.NOW
CERTIFICATE = builders.root().certificate


def issued(version: str, days: float | None, *, secret: str = "client", **more: Any) -> FiledCertificate:
    end = None if days is None else NOW + timedelta(days=days)
    known: dict[str, Any] = {"anchor": "a", "at": NOW - timedelta(days=9), "serial_number": "5e1"} | more
    return FiledCertificate(secret=secret, version_id=version, not_after=end, **known)


def measured(*entries: FiledCertificate, current: dict[str, str], pending: str = "", **more: Any) -> Expiry:
    live = set(current.items())
    seen = Observation(NOW, frozenset(live | {("client", pending)}), frozenset(), entries, in_place=frozenset(live))
    return measure(seen, more.pop("anchors", {}), current, **more)


def anchor(*reasons: Why) -> Anchor:
    return Anchor(CERTIFICATE, tuple(Reason(why, ("client",)) for why in reasons))


def test_only_what_is_at_awscurrent_counts() -> None:
    found = measured(issued("old", 2), issued("new", 20), issued("next", 30), current={"client": "new"}, pending="next")
    assert found == Expiry(clients=(Remaining("client", 20.0),))


def test_those_that_end_soonest_come_first_and_an_end_that_is_over_is_negative() -> None:
    found = measured(
        issued("v", 20, secret="b"),
        issued("v", -0.5, secret="c"),
        issued("v", 300, secret="ca", authority=True),
        issued("v", 3.25, secret="a"),
        current=dict.fromkeys("abc", "v") | {"ca": "v"},
    )
    assert [(it.name, it.days) for it in found.clients] == [("c", -0.5), ("a", 3.25), ("b", 20.0)]
    assert found.authorities == (Remaining("ca", 300.0),)
    assert [it.name for it in found.soonest_secrets(2)] == ["c", "a"]
    assert found.soonest_secrets(0) == ()


def test_a_version_under_several_anchors_and_under_an_old_key_too_counts_once() -> None:
    entries = [issued("v", 20), issued("v", None), issued("v", 20, anchor="b")]
    found = measured(*entries, current={"client": "v"})
    assert (found.clients, found.unknown) == ((Remaining("client", 20.0),), ())


def test_a_certificate_that_an_earlier_release_filed_is_unknown_and_not_fresh() -> None:
    found = measured(issued("v", None), current={"client": "v"})
    assert (found.clients, found.unknown) == ((), ("client",))


def test_a_version_that_was_made_by_hand_has_what_the_newest_before_it_has() -> None:
    older, newer = issued("old", 2), issued("newer", 15, at=NOW - timedelta(days=5))
    pending = issued("next", 30, at=NOW)
    found = measured(older, newer, pending, current={"client": "by-hand"}, pending="next")
    assert found.clients == (Remaining("client", 15.0),)


def test_a_secret_for_which_nothing_was_ever_issued_is_left_out() -> None:
    assert measured(current={"client": "v"}) == Expiry()


def test_a_certificate_outside_counts() -> None:
    outside = issued("v", 4, secret="partner", anchor="")
    assert measured(current={"partner": "v"}, outside=[outside]).clients == (Remaining("partner", 4.0),)


@pytest.mark.parametrize(
    ("reasons", "counts"),
    [
        ((Why.UPLOADED,), True),
        ((Why.ISSUES,), True),
        ((Why.UNCLEAR,), True),
        ((Why.IN_USE,), False),  # by AWSPREVIOUS alone
        ((Why.LATELY,), False),
        ((Why.RETIRING,), False),
        ((Why.UPLOADED, Why.IN_USE), True),
    ],
)
def test_an_anchor_counts_if_it_is_needed_from_now_on(reasons: tuple[Why, ...], counts: bool) -> None:
    found = measured(issued("v", 9, anchor="other"), current={"client": "v"}, anchors={"a": anchor(*reasons)})
    assert [it.name for it in found.anchors] == (["a"] if counts else [])
    used = measured(issued("v", 9), current={"client": "v"}, anchors={"a": anchor(*reasons)})
    assert [it.name for it in used.anchors] == ["a"]


def test_a_sync_measures_what_its_stack_holds_without_a_call_for_it(stack: Stack, ca: pki.CertifiedKey) -> None:
    token = stack.rotate()
    partner = builders.leaf(builders.root("Partner CA"))
    version = stack.add_secret("stack/partner", builders.issued_value(builders.client_definition(), partner))
    end = partner.certificate.not_valid_after_utc
    key = OutsideKey("stack/partner", version, pki.serial(partner.certificate), end)
    stack.bucket.put_once(str(key), pki.to_pem(partner.certificate))
    stack.secrets.calls.clear()
    expiry = stack.reconcile().expiry

    assert dict(stack.secrets.calls) == {"list_secrets": 1}
    left = {it.name: it.days for it in (*expiry.clients, *expiry.authorities)}
    assert left == {
        CLIENT: days(stack, stack.certificate(token).not_valid_after_utc),
        "stack/partner": days(stack, end),
    } | {CA: days(stack, ca.certificate.not_valid_after_utc)}
    assert [it.name for it in expiry.anchors] == [pki.fingerprint(ca.certificate)]


def days(stack: Stack, end: datetime) -> float:
    return round((end - stack.moment) / timedelta(days=1), 3)


def test_a_secret_that_is_marked_for_deletion_does_not_count(stack: Stack) -> None:
    stack.rotate()
    assert stack.reconcile().expiry.clients
    stack.clients.secretsmanager.delete_secret(SecretId=CLIENT)
    assert not stack.reconcile().expiry.clients


def test_a_stack_without_a_truststore_measures_its_certificates_too(empty_stack: Stack) -> None:
    partner = builders.leaf(builders.root("Partner CA")).certificate
    version = empty_stack.add_secret(f"{NAME}/partner", "{}")
    key = OutsideKey(f"{NAME}/partner", version, pki.serial(partner), partner.not_valid_after_utc)
    empty_stack.bucket.put_once(str(key), pki.to_pem(partner))
    assert [it.name for it in empty_stack.reconcile().expiry.clients] == [f"{NAME}/partner"]
