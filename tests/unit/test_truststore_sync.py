"""One reconcile, looked at by what lies in the bucket and what the gateway runs."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from mtls_rotation.bucket import RETIRING, TRUSTSTORE
from mtls_rotation.errors import DomainBusyError, SupersededError, TruststoreGuardError
from mtls_rotation.pki import certificates as pki
from mtls_rotation.truststore.plan import Settings
from tests import builders
from tests.unit.stack import BUCKET, CA, CLIENT, DOMAIN, NAME, Stack


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
    assert (result.published, result.updated_domains, gateway.heard()) == (False, (), [])


def test_a_new_anchor_is_published_and_deployed_beside_the_old(gateway: Stack, ca: pki.CertifiedKey) -> None:
    newer, _ = add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    result = gateway.reconcile()

    assert gateway.published() == gateway.deployed() == {newer, pki.fingerprint(ca.certificate)}
    assert gateway.gateway.updates == [(DOMAIN, result.version_id)]
    (event,) = gateway.heard("Truststore Published")
    assert (event["detail"]["added"], event["detail"]["removed"], event["detail"]["anchors"]) == ([newer], [], 2)


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
    gateway.secrets.refuse_describe["of-someone-else"] = code
    named = [("of-someone-else", "v"), (gateway.secrets.record("stack/other").arn, version)]
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
    assert list(json.loads(gateway.objects()[RETIRING])) == [newer]

    gateway.pass_time(hours=23, minutes=59)
    gateway.reconcile()
    assert newer in gateway.deployed()

    gateway.pass_time(minutes=1)
    gateway.reconcile()
    assert gateway.deployed() == {pki.fingerprint(ca.certificate)}
    assert json.loads(gateway.objects()[RETIRING]) == {}


def test_a_note_of_the_retiring_that_somebody_broke_removes_nothing_early(gateway: Stack) -> None:
    newer, _ = add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    gateway.reconcile()
    gateway.clients.secretsmanager.delete_secret(SecretId="stack/other", ForceDeleteWithoutRecovery=True)
    gateway.clients.s3.put_object(Bucket=BUCKET, Key=RETIRING, Body=b"[rubbish")
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
    rejected = [event["detail"] for event in gateway.heard("Truststore Anchor Rejected")]
    assert {detail["subject"] for detail in rejected} == {"CN=Old", "unreadable"}
    assert all("anchors/static/partner.pem" in detail["where"] for detail in rejected)


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
    before = gateway.snapshot()
    with pytest.raises(TruststoreGuardError, match="3 of 4 anchors dropped at once"):
        gateway.reconcile()
    assert gateway.snapshot() == before

    gateway.reconcile(force=True)
    assert len(gateway.deployed()) == 1


def test_not_even_force_publishes_an_empty_truststore(empty_stack: Stack) -> None:
    empty_stack.expect_gateway()
    with pytest.raises(TruststoreGuardError, match="an empty truststore"):
        empty_stack.reconcile(force=True)

    assert empty_stack.objects() == {}


def test_without_a_gateway_and_without_anchors_there_is_nothing_to_publish(empty_stack: Stack) -> None:
    result = empty_stack.reconcile()

    assert (result.version_id, result.published) == ("", False)
    assert empty_stack.objects() == {}


@pytest.mark.parametrize("first", [True, False])
def test_a_publish_that_another_overtook_is_given_up_and_does_not_overwrite(stack: Stack, first: bool) -> None:
    if first:
        stack.clients.s3.delete_object(Bucket=BUCKET, Key=TRUSTSTORE)
    add_client_of(stack, builders.root("Newer CA"), "stack/other")
    theirs = pki.to_pem(builders.foreign(common_name="Theirs")).encode()
    stack.secrets.before_page = lambda: stack.clients.s3.put_object(Bucket=BUCKET, Key=TRUSTSTORE, Body=theirs)
    with pytest.raises(SupersededError) as failure:
        stack.reconcile()

    assert failure.value.retryable
    assert stack.objects()[TRUSTSTORE] == theirs


@pytest.mark.parametrize("reason", ["UPDATING", "TooManyRequestsException"])
def test_a_domain_that_takes_no_update_now_gets_it_at_the_next_run(gateway: Stack, reason: str) -> None:
    newer, _ = add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    if reason == "UPDATING":
        gateway.gateway.domains[DOMAIN].status = reason
    else:
        gateway.gateway.refuse_updates = reason
    with pytest.raises(DomainBusyError, match=reason) as failure:
        gateway.reconcile()
    assert (failure.value.retry_after, failure.value.retryable) == (30, True)
    assert newer not in gateway.deployed()

    gateway.gateway.refuse_updates = None
    gateway.gateway.settle()
    result = gateway.reconcile()
    assert newer in gateway.deployed()
    assert (result.published, result.updated_domains) == (False, (DOMAIN,))


def test_a_domain_that_somebody_took_elsewhere_is_brought_back(gateway: Stack) -> None:
    gateway.gateway.domains[DOMAIN].uri = "s3://elsewhere/truststore.pem"
    gateway.reconcile()

    assert gateway.gateway.domains[DOMAIN].uri == f"s3://{BUCKET}/{TRUSTSTORE}"


def test_what_api_gateway_says_of_the_truststore_is_announced(gateway: Stack) -> None:
    add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    gateway.gateway.domains[DOMAIN].warnings = ("a certificate has expired",)
    result = gateway.reconcile()

    assert result.warnings == {DOMAIN: ("a certificate has expired",)}
    (event,) = gateway.heard("Truststore Warning")
    assert event["detail"] == {"domain_name": DOMAIN, "warnings": ["a certificate has expired"]}


def test_it_reads_no_secret_value(gateway: Stack) -> None:
    add_client_of(gateway, builders.root("Newer CA"), "stack/other")
    arns = [(gateway.secrets.record(name).arn, "v") for name in (CA, CLIENT)]
    gateway.secrets.calls.clear()
    gateway.reconcile(named=arns)

    assert set(gateway.secrets.calls) == {"list_secrets", "describe_secret"}


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
