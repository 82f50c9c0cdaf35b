"""One reconcile, looked at by what lies in the bucket and what the gateway runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from mtls_rotation.contract.layout import SYNC_NOTES, TRUSTSTORE
from mtls_rotation.errors import SupersededError, TruststoreGuardError, UnusableDomainError
from mtls_rotation.pki import bundles
from mtls_rotation.pki import certificates as pki
from mtls_rotation.truststore.anchor_objects import Bounds
from mtls_rotation.truststore.plan import Settings
from mtls_rotation.truststore.state import StateFile, SyncState
from tests.kit import builders
from tests.kit.stack import BUCKET, CA, CLIENT, DOMAIN, NAME, Stack


def add_client_of(stack: Stack, authority: pki.CertifiedKey, name: str) -> tuple[str, str]:
    """A client secret that holds a certificate by that CA; the anchor's fingerprint and the version."""
    leaf = builders.leaf(authority)
    version = stack.add_secret(name, builders.issued_value(builders.client_definition(), leaf))
    stack.file(leaf, name, version)
    return pki.fingerprint(authority.certificate), version


@pytest.fixture
def gateway(stack: Stack) -> Stack:
    """A stack with a gateway, whose certificates were all issued long ago."""
    stack.with_gateway()
    stack.pass_time(hours=2)
    return stack


def upload(stack: Stack, name: str, body: str) -> None:
    stack.clients.s3.put_object(Bucket=BUCKET, Key=f"anchors/static/{name}", Body=body.encode())


def test_an_unchanged_set_writes_nothing_and_updates_no_domain(gateway: Stack) -> None:
    before = gateway.snapshot()
    result = gateway.reconcile()

    assert gateway.snapshot() == before
    assert gateway.object_versions(TRUSTSTORE) == 1
    assert (result.published, result.updated, gateway.heard()) == (False, (), [])


def test_a_new_anchor_is_published_and_deployed_beside_the_old(gateway: Stack, ca: pki.CertifiedKey) -> None:
    newer, _ = add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    result = gateway.reconcile()

    assert gateway.published() == gateway.deployed() == {newer, pki.fingerprint(ca.certificate)}
    assert gateway.gateway.updates == [(DOMAIN, result.version_id)]
    (event,) = gateway.heard("Truststore Published")
    assert (event["detail"]["added"], event["detail"]["removed"], event["detail"]["anchors"]) == ([newer], [], 2)


def explanation(stack: Stack) -> list[str]:
    return stack.objects()["truststore.txt"].decode().splitlines()


def test_what_is_published_is_explained_beside_it_and_the_text_says_which_bytes_it_is_about(
    gateway: Stack, ca: pki.CertifiedKey
) -> None:
    newer, _ = add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    result = gateway.reconcile()

    body = gateway.objects()[TRUSTSTORE]
    assert body.decode() == pki.to_pem(*(bundles.certificates(body)[it] for it in sorted(gateway.published())))
    text = explanation(gateway)
    assert text[:4] == [
        f"s3://{BUCKET}/{TRUSTSTORE}",
        f"version: {result.version_id}",
        f"sha256: {hashlib.sha256(body).hexdigest()}",
        "certificates: 2",
    ]
    assert [it for it in text if it.startswith("anchor: ")] == [f"anchor: {it}" for it in sorted(gateway.published())]
    assert "why: in use by stack/other" in "\n".join(text)
    assert pki.fingerprint(ca.certificate) in gateway.published()
    assert newer in gateway.published()


def test_an_unchanged_set_is_not_explained_again(gateway: Stack) -> None:
    gateway.reconcile()
    assert gateway.object_versions("truststore.txt") == 1


def test_a_truststore_with_comments_in_it_is_published_bare_though_its_set_is_the_same(
    gateway: Stack, ca: pki.CertifiedKey
) -> None:
    """As it was written once. A gateway that takes no text between the blocks would take none of it."""
    mark = {"written-by": "mtls-rotation"}
    body = f"# subject: CN=Test CA\n{pki.to_pem(ca.certificate)}".encode()
    gateway.clients.s3.put_object(Bucket=BUCKET, Key=TRUSTSTORE, Body=body, Metadata=mark)
    result = gateway.reconcile()

    assert gateway.objects()[TRUSTSTORE].decode() == pki.to_pem(ca.certificate)
    assert gateway.gateway.updates == [(DOMAIN, result.version_id)]
    assert f"version: {result.version_id}" in explanation(gateway)


def test_running_it_again_costs_no_further_update(gateway: Stack) -> None:
    add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    for _ in range(3):
        gateway.reconcile()

    assert len(gateway.gateway.updates) == 1
    assert gateway.object_versions(TRUSTSTORE) == 2


def test_a_secret_of_another_stack_does_not_count(gateway: Stack) -> None:
    newer, _ = add_client_of(gateway, builders.root("Newer CA"), "other/client")
    gateway.clients.secretsmanager.tag_resource(
        SecretId="other/client", Tags=[{"Key": "mtls-rotation:stack", "Value": f"{NAME}-2"}]
    )
    gateway.pass_time(hours=2)
    gateway.reconcile()

    assert newer not in gateway.published()


def test_a_secret_in_its_recovery_window_still_counts(gateway: Stack) -> None:
    newer, _ = add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    gateway.clients.secretsmanager.delete_secret(SecretId="stack/other", RecoveryWindowInDays=7)
    gateway.pass_time(hours=2)
    gateway.reconcile()

    assert newer in gateway.published()


def test_an_event_in_hand_counts_where_the_listing_lags(gateway: Stack) -> None:
    newer, version = add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    gateway.clients.secretsmanager.untag_resource(SecretId="stack/other", TagKeys=["mtls-rotation:stack"])
    gateway.pass_time(hours=2)
    gateway.reconcile(named=[(gateway.secrets.record("stack/other").arn, version)])

    assert newer in gateway.published()


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "AccessDeniedException"])
def test_an_event_of_a_secret_that_is_not_the_stacks_holds_nothing_up(gateway: Stack, code: str) -> None:
    newer, version = add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    gateway.file(builders.leaf(builders.root()), "foreign", "v")
    gateway.secrets.refuse_describe["foreign"] = code
    gateway.pass_time(hours=2)
    named = [("foreign", "unseen"), (gateway.secrets.record("stack/other").arn, version)]
    gateway.reconcile(named=named)

    assert newer in gateway.deployed()


def test_an_unused_anchor_leaves_after_its_overlap_and_not_before(gateway: Stack, ca: pki.CertifiedKey) -> None:
    gateway.settings = Settings(overlap=timedelta(hours=24))
    newer, _ = add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    gateway.reconcile()
    gateway.clients.secretsmanager.delete_secret(SecretId="stack/other", ForceDeleteWithoutRecovery=True)
    gateway.pass_time(hours=2)
    gateway.reconcile()
    assert newer in gateway.deployed()
    assert list(json.loads(gateway.objects()[SYNC_NOTES])["unused_since"]) == [newer]

    gateway.pass_time(hours=23, minutes=59)
    gateway.reconcile()
    assert newer in gateway.deployed()

    gateway.pass_time(minutes=1)
    gateway.reconcile()
    assert gateway.deployed() == {pki.fingerprint(ca.certificate)}
    assert json.loads(gateway.objects()[SYNC_NOTES])["unused_since"] == {}


NAIVE = SyncState().render().replace(b'"unused_since": {}', b'"unused_since": {"%s": "2000-01-01T00:00:00"}')


@pytest.mark.parametrize("broken", [b"[rubbish", b"{}", b"null", NAIVE])
def test_a_state_that_was_broken_by_hand_removes_nothing_early(gateway: Stack, broken: bytes) -> None:
    newer, _ = add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    gateway.reconcile()
    gateway.clients.secretsmanager.delete_secret(SecretId="stack/other", ForceDeleteWithoutRecovery=True)
    gateway.clients.s3.put_object(Bucket=BUCKET, Key=SYNC_NOTES, Body=broken.replace(b"%s", newer.encode()))
    gateway.pass_time(days=30)
    gateway.reconcile()

    assert newer in gateway.deployed()


def test_what_operators_upload_is_published_and_the_unfit_is_announced(gateway: Stack) -> None:
    partner = builders.foreign(common_name="Partner")
    expired = builders.foreign(common_name="Old", not_after=builders.NOW)
    garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    upload(gateway, "partner.pem", "# ours\r\n" + pki.to_pem(partner, expired) + garbage)
    gateway.reconcile()

    assert pki.fingerprint(partner) in gateway.deployed()
    assert pki.fingerprint(expired) not in gateway.deployed()
    (rejected,) = [event["detail"] for event in gateway.heard("Truststore Anchor Rejected")]
    assert (rejected["key"], rejected["count"]) == ("anchors/static/partner.pem", 2)
    assert {(it["position"], it["subject"]) for it in rejected["certificates"]} == {(2, "CN=Old"), (3, "unreadable")}
    (old,) = [it for it in rejected["certificates"] if it["position"] == 2]
    assert old["fingerprint_sha256"] == pki.fingerprint(expired)
    assert "it expired on" in old["reason"]
    assert rejected["certificates"][0].items() <= rejected.items(), "of the first it says so as well"


def test_a_bundle_in_which_nothing_is_fit_is_announced_though_nothing_is_published(gateway: Stack) -> None:
    upload(gateway, "partner.pem", "rubbish")
    result = gateway.reconcile()

    assert not result.published
    (event,) = gateway.heard()
    assert (event["detail-type"], event["detail"]["reason"]) == (
        "Truststore Anchor Rejected",
        "no PEM certificate in it",
    )


def test_what_was_rejected_is_said_once_until_it_changes(gateway: Stack) -> None:
    upload(gateway, "partner.pem", "rubbish")
    for _ in range(3):
        gateway.reconcile()
    assert len(gateway.heard("Truststore Anchor Rejected")) == 1

    upload(gateway, "partner.pem", pki.to_pem(builders.foreign(not_after=builders.NOW)))
    gateway.reconcile()
    assert len(gateway.heard("Truststore Anchor Rejected")) == 1
    gateway.clients.s3.delete_object(Bucket=BUCKET, Key="anchors/static/partner.pem")
    gateway.reconcile()
    assert gateway.heard("Truststore Anchor Rejected") == []
    upload(gateway, "partner.pem", "rubbish")
    gateway.reconcile()
    assert len(gateway.heard("Truststore Anchor Rejected")) == 1


def test_a_folder_that_the_console_made_is_no_bundle(gateway: Stack) -> None:
    upload(gateway, "partners/", "")

    assert gateway.reconcile().plan.left_out == ()


def test_a_bundle_that_is_too_large_is_not_even_read(gateway: Stack) -> None:
    gateway.bounds = Bounds(size=1000)
    upload(gateway, "partner.pem", pki.to_pem(builders.foreign()) * 2)
    gateway.reconcile()

    (event,) = gateway.heard("Truststore Anchor Rejected")
    assert "where a bundle may have 1000" in event["detail"]["reason"]


def test_a_bundle_that_was_deleted_leaves_after_the_overlap(gateway: Stack) -> None:
    partner = builders.foreign(common_name="Partner")
    upload(gateway, "partner.pem", pki.to_pem(partner))
    gateway.reconcile()
    gateway.clients.s3.delete_object(Bucket=BUCKET, Key="anchors/static/partner.pem")
    gateway.pass_time(minutes=1)
    gateway.reconcile()
    assert pki.fingerprint(partner) in gateway.deployed()

    gateway.pass_time(hours=1)
    gateway.reconcile()
    assert pki.fingerprint(partner) not in gateway.deployed()


def test_what_has_not_changed_is_not_fetched_again(gateway: Stack) -> None:
    add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    upload(gateway, "good.pem", pki.to_pem(builders.foreign()))
    upload(gateway, "bad.pem", "rubbish")
    gateway.reconcile()
    fetched: list[str] = []
    gateway.clients.s3.meta.events.register("before-parameter-build.s3.GetObject", record := _keys(fetched))
    gateway.reconcile()
    upload(gateway, "bad.pem", "other rubbish")
    gateway.reconcile()
    gateway.clients.s3.meta.events.unregister("before-parameter-build.s3.GetObject", record)

    every_time = [TRUSTSTORE, SYNC_NOTES]
    assert fetched == [*every_time, *every_time, "anchors/static/bad.pem"]


def _keys(fetched: list[str]) -> Callable[..., None]:
    def record(params: dict[str, str], **_: object) -> None:
        fetched.append(params["Key"])

    return record


@pytest.mark.parametrize(("days_left", "marks"), [(31, 0), (30, 1), (20, 1), (14, 2), (7, 3), (3, 3), (1, 4), (0.5, 4)])
def test_an_anchor_that_ends_soon_is_warned_of_at_30_14_7_and_1_days(
    gateway: Stack, days_left: float, marks: int
) -> None:
    end = gateway.moment + timedelta(days=40)
    partner = builders.foreign(common_name="Partner", not_after=end)
    upload(gateway, "partner.pem", pki.to_pem(partner))
    heard = []
    for left in [40, 31, 30, 29, 14, 13, 7, 5, 1, 0.9, 0.5]:
        if left >= days_left:
            gateway.now = end - timedelta(days=left, seconds=gateway.time.now)
            gateway.reconcile()
            heard += gateway.heard("Truststore Anchor Expiring")

    assert len(heard) == marks
    for event in heard:
        detail = event["detail"]
        assert (detail["subject"], detail["fingerprint_sha256"]) == ("CN=Partner", pki.fingerprint(partner))
        assert detail["why"] == ["uploaded in anchors/static/partner.pem"]
        assert detail["days_left"] in (30, 14, 7, 1)


def test_an_anchor_that_is_on_its_way_out_is_not_warned_of(gateway: Stack) -> None:
    partner = builders.foreign(common_name="Partner", not_after=gateway.moment + timedelta(days=20))
    upload(gateway, "partner.pem", pki.to_pem(partner))
    gateway.reconcile()
    gateway.heard()
    gateway.clients.s3.delete_object(Bucket=BUCKET, Key="anchors/static/partner.pem")
    gateway.settings = Settings(overlap=timedelta(days=30))
    gateway.pass_time(days=10)
    gateway.reconcile()

    assert pki.fingerprint(partner) in gateway.deployed()
    assert gateway.heard("Truststore Anchor Expiring") == []


def test_an_object_in_the_place_of_a_managed_anchor_that_is_not_it_is_left_out(gateway: Stack) -> None:
    newer, _ = add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    other = builders.foreign(common_name="Planted")
    gateway.clients.s3.put_object(Bucket=BUCKET, Key=f"anchors/managed/{newer}.pem", Body=pki.to_pem(other).encode())
    gateway.reconcile()

    assert pki.fingerprint(other) not in gateway.published()


def test_a_plan_that_a_guard_refuses_leaves_everything_as_it_was(gateway: Stack) -> None:
    for number in range(3):
        add_client_of(gateway, builders.root(f"CA {number}"), f"stack/{number}")
    gateway.reconcile()
    for number in range(3):
        gateway.clients.secretsmanager.delete_secret(SecretId=f"stack/{number}", ForceDeleteWithoutRecovery=True)
    gateway.pass_time(hours=2)
    gateway.reconcile()
    gateway.pass_time(hours=2)
    gateway.heard()
    before = gateway.snapshot()
    for _ in range(3):
        with pytest.raises(TruststoreGuardError, match="3 of 4 anchors dropped at once"):
            gateway.reconcile()
    after = gateway.snapshot()
    del before["objects"][SYNC_NOTES], after["objects"][SYNC_NOTES]
    assert after == before
    (event,) = gateway.heard()
    assert (event["detail-type"], event["detail"]["guard"]) == ("Truststore Publish Stopped", "drops-too-many")
    assert len(event["detail"]["removed"]) == 3

    gateway.reconcile(force=True)
    assert len(gateway.deployed()) == 1
    assert [event["detail-type"] for event in gateway.heard()] == ["Truststore Published"]


def test_a_guard_that_stops_a_publish_again_later_says_so_again(gateway: Stack) -> None:
    for _ in range(2):
        gateway.capacity = 0
        with pytest.raises(TruststoreGuardError, match="1 certificates, where 0 are allowed"):
            gateway.reconcile()
        gateway.capacity = 1
        gateway.reconcile()

    assert [event["detail"]["guard"] for event in gateway.heard("Truststore Publish Stopped")] == ["too-large"] * 2


def test_not_even_force_publishes_an_empty_truststore(empty_stack: Stack) -> None:
    empty_stack.expect_gateway()
    with pytest.raises(TruststoreGuardError, match="an empty truststore"):
        empty_stack.reconcile(force=True)

    assert TRUSTSTORE not in empty_stack.objects()


def test_without_a_gateway_and_without_anchors_there_is_nothing_to_publish(empty_stack: Stack) -> None:
    result = empty_stack.reconcile()

    assert (result.version_id, result.published) == ("", False)
    assert empty_stack.objects() == {}


@pytest.mark.parametrize("first", [True, False])
def test_a_publish_that_another_overtook_is_begun_afresh_and_undoes_nothing_of_theirs(
    stack: Stack, first: bool
) -> None:
    if first:
        stack.clients.s3.delete_object(Bucket=BUCKET, Key=TRUSTSTORE)
    newer, _ = add_client_of(stack, builders.root("Newer CA"), "stack/other")
    theirs = builders.foreign(common_name="Theirs")
    stack.secrets.before_page = lambda: upload_truststore(stack, theirs)
    stack.reconcile()

    assert {newer, pki.fingerprint(theirs)} <= stack.published()


def upload_truststore(stack: Stack, certificate: x509.Certificate) -> None:
    stack.clients.s3.put_object(Bucket=BUCKET, Key=TRUSTSTORE, Body=pki.to_pem(certificate).encode())


def test_one_that_is_overtaken_again_and_again_gives_way(stack: Stack) -> None:
    add_client_of(stack, builders.root("Newer CA"), "stack/other")

    def overtake() -> None:
        upload_truststore(stack, builders.foreign(common_name="Theirs"))
        stack.secrets.before_page = overtake

    stack.secrets.before_page = overtake
    with pytest.raises(SupersededError) as failure:
        stack.reconcile()

    assert failure.value.retryable
    assert stack.published() == {pki.fingerprint(it) for it in pki.from_pem(stack.objects()[TRUSTSTORE].decode())}


def test_a_run_that_was_overtaken_before_it_deployed_takes_no_domain_back(gateway: Stack) -> None:
    add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    newest = builders.root("Newest CA")
    others = TruststoreSyncBeside(gateway, newest)
    gateway.reconcile()

    assert others.ran
    assert pki.fingerprint(newest.certificate) in gateway.deployed()
    assert len(gateway.gateway.updates) == 1


class TruststoreSyncBeside:
    """A second run that publishes while the first is about to look at the domain."""

    def __init__(self, stack: Stack, authority: pki.CertifiedKey) -> None:
        self.ran = False
        self._stack, self._authority = stack, authority
        self._get = stack.gateway.get_domain_name
        stack.gateway.get_domain_name = self  # type: ignore[method-assign]

    def __call__(self, **request: Any) -> dict[str, Any]:
        if not self.ran:
            self.ran = True
            add_client_of(self._stack, self._authority, "stack/newest")
            self._stack.sync.run(self._stack.time.deadline())
            self._stack.gateway.settle()
            self._stack.pass_time(seconds=31)  # so that the rate would let the first run's update through
        return self._get(**request)


@pytest.mark.parametrize(("seconds", "updates"), [(6, 1), (8, 0)])
def test_a_run_that_is_held_up_after_its_note_updates_no_domain(
    gateway: Stack, monkeypatch: pytest.MonkeyPatch, seconds: float, updates: int
) -> None:
    """By then another run may have updated it: 30 s after the note, which this one's update must not outlast."""
    upload(gateway, "partner.pem", pki.to_pem(builders.foreign()))
    save, held_up = StateFile.save, [seconds]

    def save_slowly(state: StateFile) -> None:
        save(state)
        if held_up:
            gateway.now += timedelta(seconds=held_up.pop())

    monkeypatch.setattr(StateFile, "save", save_slowly)
    result = gateway.sync.run(gateway.time.deadline())

    assert (len(gateway.gateway.updates), result.behind) == (updates, () if updates else (DOMAIN,))
    assert result.retry_after


@pytest.mark.parametrize(("reason", "retry_after"), [("UPDATING", 5), ("TooManyRequestsException", 30)])
def test_a_domain_that_takes_no_update_now_gets_it_at_the_next_run(
    gateway: Stack, reason: str, retry_after: int
) -> None:
    newer, _ = add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    if reason == "UPDATING":
        gateway.gateway.domains[DOMAIN].status = reason
    else:
        gateway.gateway.refuse_updates = reason
    result = gateway.sync.run(gateway.time.deadline())
    assert (result.retry_after, result.behind, result.updated) == (retry_after, (DOMAIN,), ())
    assert newer not in gateway.deployed()

    gateway.gateway.refuse_updates = None
    gateway.gateway.settle()
    result = gateway.reconcile()
    assert newer in gateway.deployed()
    assert (result.published, result.updated, result.retry_after) == (False, (DOMAIN,), None)


def test_after_an_update_the_next_waits_for_the_rest_of_the_interval_and_does_not_even_ask(gateway: Stack) -> None:
    add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    gateway.reconcile()
    newest, _ = add_client_of(gateway, builders.root("Newest CA"), "stack/newest")
    gateway.pass_time(seconds=12)
    asked = gateway.gateway.update_calls
    result = gateway.reconcile()
    assert (result.published, result.retry_after, gateway.gateway.update_calls) == (True, 18, asked)

    gateway.pass_time(seconds=18)
    assert gateway.reconcile().retry_after is None
    assert newest in gateway.deployed()


def test_what_api_gateway_says_of_when_to_come_again_is_heeded(gateway: Stack) -> None:
    add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    gateway.gateway.refuse_updates, gateway.gateway.retry_after = "TooManyRequestsException", "7"

    assert gateway.reconcile().retry_after == 7


def test_several_domains_are_updated_in_turn_and_none_is_starved(gateway: Stack) -> None:
    names = gateway.add_domains("b.example.com", "c.example.com")
    for number in range(5):
        add_client_of(gateway, builders.root(f"CA {number}"), f"stack/{number}")
        gateway.reconcile()
        gateway.pass_time(seconds=30)
    updated = [name for name, _ in gateway.gateway.updates]
    assert set(updated[:3]) == set(updated[2:5]) == {DOMAIN, *names}

    while gateway.reconcile().retry_after:
        gateway.pass_time(seconds=30)
    newest = {domain.version_id for domain in gateway.gateway.domains.values()}
    assert newest == {gateway.reconcile().version_id}


def test_a_domain_without_mutual_tls_is_reported_and_holds_up_no_other(gateway: Stack) -> None:
    newer, _ = add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    (other,) = gateway.add_domains("a.example.com")
    gateway.gateway.domains[other].mutual_tls = False
    with pytest.raises(UnusableDomainError, match="no mutual TLS"):
        gateway.reconcile()

    assert newer in gateway.deployed()


def test_a_domain_that_somebody_took_elsewhere_is_brought_back(gateway: Stack) -> None:
    gateway.gateway.domains[DOMAIN].uri = "s3://elsewhere/truststore.pem"
    result = gateway.reconcile()

    assert gateway.gateway.domains[DOMAIN].uri == f"s3://{BUCKET}/{TRUSTSTORE}"
    assert result.drifted == (DOMAIN,)
    (event,) = gateway.heard("Truststore Drift")
    assert event["detail"]["found_uri"] == "s3://elsewhere/truststore.pem"


def test_an_object_that_somebody_wrote_over_is_written_anew_and_that_is_said(
    gateway: Stack, ca: pki.CertifiedKey
) -> None:
    theirs = builders.foreign(common_name="Theirs")
    body = (pki.to_pem(ca.certificate) + pki.to_pem(theirs)).encode()
    answer = gateway.clients.s3.put_object(Bucket=BUCKET, Key=TRUSTSTORE, Body=body)
    result = gateway.reconcile()

    assert result.published
    assert b"why: unused since" in gateway.objects()["truststore.txt"]
    (event,) = gateway.heard("Truststore Drift")
    assert (event["detail"]["domain_name"], event["detail"]["found_version_id"]) == ("", answer["VersionId"])
    gateway.pass_time(hours=1)
    gateway.reconcile()
    assert gateway.deployed() == {pki.fingerprint(ca.certificate)}
    assert gateway.heard("Truststore Drift") == []


def test_a_domain_that_somebody_set_to_an_older_version_is_brought_back_and_that_is_said(gateway: Stack) -> None:
    older = gateway.gateway.domains[DOMAIN].version_id
    newer, _ = add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    result = gateway.reconcile()
    assert (result.drifted, gateway.heard("Truststore Drift")) == ((), [])

    gateway.gateway.domains[DOMAIN].version_id = older
    gateway.pass_time(seconds=10)
    gateway.reconcile()  # the account's rate is used up still
    gateway.pass_time(seconds=30)
    gateway.reconcile()
    assert newer in gateway.deployed()
    (event,) = gateway.heard("Truststore Drift")
    assert (event["detail"]["domain_name"], event["detail"]["found_version_id"]) == (DOMAIN, older)
    assert event["detail"]["version_id"] == result.version_id


def test_a_domain_that_is_set_back_once_more_is_said_once_more(gateway: Stack) -> None:
    older = gateway.gateway.domains[DOMAIN].version_id
    add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    for _ in range(3):
        gateway.reconcile()
        gateway.reconcile()
        gateway.gateway.domains[DOMAIN].version_id = older
        gateway.pass_time(seconds=30)

    assert len(gateway.heard("Truststore Drift")) == 2


def test_a_domain_that_does_not_settle_in_time_is_looked_at_again_later(gateway: Stack) -> None:
    add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    result = gateway.sync.run(gateway.time.deadline(60.0))

    assert (result.updated, result.behind, result.retry_after) == ((DOMAIN,), (), 30)


def test_what_api_gateway_says_of_the_truststore_is_announced(gateway: Stack) -> None:
    add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    gateway.gateway.domains[DOMAIN].warnings = ("a certificate has expired",)
    result = gateway.reconcile()

    assert result.warnings == {DOMAIN: ("a certificate has expired",)}
    (event,) = gateway.heard("Truststore Warning")
    assert event["detail"] == {"domain_name": DOMAIN, "warnings": ["a certificate has expired"]}

    gateway.reconcile()
    assert gateway.heard("Truststore Warning") == []
    gateway.gateway.domains[DOMAIN].warnings = ("another has expired",)
    gateway.reconcile()
    assert len(gateway.heard("Truststore Warning")) == 1


def test_it_reads_no_secret_value(gateway: Stack) -> None:
    add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    arns = [(gateway.secrets.record(name).arn, "v") for name in (CA, CLIENT)]
    gateway.secrets.calls.clear()
    gateway.reconcile(named=arns)

    assert set(gateway.secrets.calls) == {"list_secrets", "describe_secret"}


def test_a_burst_of_events_about_what_is_seen_anyway_asks_for_no_secret_by_itself(stack: Stack) -> None:
    stack.with_gateway()
    token = stack.rotate()  # a moment ago, so that its version counts whatever the listing says
    arns = [
        (stack.secrets.record(CLIENT).arn, token),
        ("arn:aws:secretsmanager:us-east-1:1:secret:foreign-AbCdEf", "v"),
    ]
    stack.secrets.calls.clear()
    stack.reconcile(named=arns)

    assert dict(stack.secrets.calls) == {"list_secrets": 1}


def test_a_version_that_was_filed_a_moment_ago_counts_without_being_asked_for(gateway: Stack) -> None:
    gateway.now = builders.NOW
    newer, version = add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    gateway.clients.secretsmanager.untag_resource(SecretId="stack/other", TagKeys=["mtls-rotation:stack"])
    gateway.secrets.calls.clear()
    gateway.reconcile(named=[(gateway.secrets.record("stack/other").arn, version)])

    assert newer in gateway.published()
    # The second asks for what is filed and not listed, by name: whatever its tags are now, it is ours.
    assert dict(gateway.secrets.calls) == {"list_secrets": 2}


def test_what_no_label_names_any_more_is_forgotten_after_its_time(stack: Stack) -> None:
    gone = stack.rotate()
    for _ in range(2):
        kept = stack.rotate()
    indexed = [key for key in stack.objects() if key.startswith("issued/")]
    stack.reconcile()
    stack.pass_time(days=31)
    stack.reconcile()

    left = [key for key in stack.objects() if key.startswith("issued/")]
    assert {key for key in indexed if gone in key} == set(indexed) - set(left)
    assert any(kept in key for key in left)


def test_a_version_that_is_filed_under_an_old_key_too_changes_nothing_and_is_forgotten_whole(stack: Stack) -> None:
    gone = stack.rotate()
    stack.reconcile()
    before = stack.published()
    stack.file_again_without_ends()
    result = stack.reconcile()

    assert (stack.published(), result.published) == (before, False)
    assert len([key for key in stack.objects() if gone in key]) == 2
    stack.rotate()
    stack.rotate()
    stack.pass_time(days=31)
    stack.reconcile()
    assert [key for key in stack.objects() if gone in key] == []


def test_the_object_of_an_unchanged_set_is_the_same_to_the_byte(stack: Stack) -> None:
    add_client_of(stack, builders.root("Newer CA"), "stack/other")
    stack.reconcile()
    once = stack.objects()[TRUSTSTORE]
    stack.clients.s3.delete_object(Bucket=BUCKET, Key=TRUSTSTORE)
    stack.reconcile()

    assert stack.objects()[TRUSTSTORE] == once


def test_an_anchor_stays_while_a_version_that_was_edited_by_hand_hangs_on_it(stack: Stack) -> None:
    stack.rotate()
    old = pki.fingerprint(pki.from_pem(stack.value(stack.at("AWSCURRENT"))["anchor"])[0])
    stack.rotate(CA)
    for days in (20, 10):  # twice, so that neither AWSCURRENT nor AWSPREVIOUS is the version that was issued
        value = stack.value(stack.at("AWSCURRENT"))
        value["request"]["validity_days"] = days
        stack.clients.secretsmanager.put_secret_value(SecretId=CLIENT, SecretString=json.dumps(value))
    stack.pass_time(hours=2)
    stack.reconcile()
    stack.pass_time(hours=2)
    assert old in stack.reconcile().plan.anchors

    stack.rotate()
    stack.rotate()
    stack.pass_time(hours=2)
    stack.reconcile()
    stack.pass_time(hours=2)
    assert old not in stack.reconcile().plan.anchors
