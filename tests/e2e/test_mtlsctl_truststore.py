"""`mtlsctl truststore` on a deployed stack: an anchor on its way in, and many on their way out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from demo import sam
from demo.waiting import await_condition
from mtls_rotation import timing
from mtls_rotation.contract import layout
from mtls_rotation.pki import certificates as pki
from tests.kit import builders
from tests.kit.deployment import DOMAIN, Deployment
from tests.kit.mtlsctl import Mtlsctl

BUNDLE = f"{layout.STATIC_ANCHORS}operators.pem"
# So many that they are more than half of whatever else is trusted.
ANCHORS = [builders.root(f"Operator's CA {number}").certificate for number in range(12)]
EXPIRED = builders.foreign(common_name="Expired", not_after=builders.NOW - timedelta(days=1))
FINGERPRINTS = {pki.fingerprint(it) for it in ANCHORS}


@pytest.fixture(scope="module")
def mtlsctl(gateway: Deployment) -> Iterator[Mtlsctl]:
    """The command line on a stack that hears of no upload: only who asks for a sync gets one."""
    gateway.await_rest(gateway.client)
    events, stack = sam.session(gateway.environment).client("events"), gateway.stack.name
    cloudformation = sam.session(gateway.environment).client("cloudformation")
    resource = cloudformation.describe_stack_resource(StackName=stack, LogicalResourceId="StaticAnchorsRule")
    rule = resource["StackResourceDetail"]["PhysicalResourceId"]
    events.disable_rule(Name=rule)
    yield Mtlsctl(gateway.environment, stack)
    gateway.s3.delete_object(Bucket=gateway.bucket, Key=BUNDLE)
    events.enable_rule(Name=rule)


def test_an_upload_is_planned_then_differs_and_is_shown_once_a_sync_was_asked_for_and_awaited(
    mtlsctl: Mtlsctl, gateway: Deployment
) -> None:
    await_condition(lambda: is_idle(gateway), "no sync is asked for", 60.0)
    await_condition(lambda: mtlsctl("truststore", "diff").exit_code == 0, "the truststore is at rest", 60.0)
    status, document = mtlsctl.json("truststore", "diff")
    assert (status, [it["name"] for it in document["differences"]]) == (0, [DOMAIN, "published"])
    gateway.s3.put_object(Bucket=gateway.bucket, Key=BUNDLE, Body=pki.to_pem(*ANCHORS, EXPIRED).encode())

    status, document = mtlsctl.json("truststore", "plan")
    assert (status, document["stop"], document["updates"]) == (0, None, [DOMAIN])
    assert {it["fingerprint_sha256"] for it in document["added"]} == FINGERPRINTS
    assert all(it["reasons"] == [f"uploaded in {BUNDLE}"] for it in document["added"])
    (out,) = [it for it in document["left_out"] if it["key"] == BUNDLE]
    assert (out["position"], out["subject"], out["rejected"]) == (13, "CN=Expired", True)
    assert "it expired on" in out["reason"]

    status, document = mtlsctl.json("truststore", "diff")
    running, published = document["differences"]
    assert (status, running["added"], len(published["added"])) == (1, [], 12)
    table = mtlsctl("truststore", "diff")
    assert (table.exit_code, table.out.count("+ ")) == (1, 12)

    status, document = mtlsctl.json("truststore", "sync", "--wait", "--timeout", "0")
    assert (status, document["error"]["code"]) == (2, "MTLS-405")
    status, document = mtlsctl.json("truststore", "sync", "--wait")
    assert (status, document["completed"]) == (0, True)
    assert document["published_version"] == gateway.deployed_truststore()

    assert mtlsctl("truststore", "diff").exit_code == 0
    status, document = mtlsctl.json("truststore", "show")
    (domain,) = document["domains"]
    assert (status, domain["name"], domain["warnings"]) == (0, DOMAIN, [])
    assert {it["fingerprint_sha256"] for it in domain["anchors"]} > FINGERPRINTS
    assert not any(it["goes"] for it in domain["anchors"])
    shown = mtlsctl("truststore", "show", "--domain", DOMAIN)
    assert shown.exit_code == 0
    assert "CN=Operator's CA 7" in shown.out
    assert "in use by e2e-gateway/client" in shown.out


def is_idle(gateway: Deployment) -> bool:
    """Whether no message waits for the sync, nor is with it."""
    counts = (
        sam.session(gateway.environment)
        .client("sqs")
        .get_queue_attributes(
            QueueUrl=gateway.stack.outputs["SyncQueue"],
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )
    )
    return not any(map(int, counts["Attributes"].values()))


def test_what_a_guard_stops_is_reported_and_goes_through_by_force_alone(mtlsctl: Mtlsctl, gateway: Deployment) -> None:
    gateway.s3.delete_object(Bucket=gateway.bucket, Key=BUNDLE)
    let_the_overlap_pass(gateway)
    before = gateway.deployed_truststore()

    shown = mtlsctl("truststore", "show")
    assert "it goes: nothing live chains to it" in shown.out
    status, document = mtlsctl.json("truststore", "plan")
    assert (status, document["stop"]["guard"], document["stop"]["may_be_forced"]) == (1, "drops-too-many", True)
    assert {it["fingerprint_sha256"] for it in document["removed"]} == FINGERPRINTS
    assert mtlsctl("truststore", "plan").exit_code == 1
    assert mtlsctl("truststore", "plan", "--force").exit_code == 0

    status, document = mtlsctl.json("truststore", "sync", "--wait")
    assert (status, document["requested"], document["stop"]["guard"]) == (1, False, "drops-too-many")
    stopped = mtlsctl("truststore", "sync")
    assert (stopped.exit_code, "What is deployed stays as it is." in stopped.out) == (1, True)

    unconfirmed = mtlsctl("truststore", "sync", "--force")
    assert (unconfirmed.exit_code, unconfirmed.err.count("- ")) == (2, 12)
    assert "MTLS-408" in unconfirmed.err
    assert "--yes" in unconfirmed.err
    assert gateway.deployed_truststore() == before

    forced = mtlsctl("truststore", "sync", "--force", "--yes", "--wait")
    assert forced.exit_code == 0, forced.err
    assert "does not run version" in forced.err or "not published yet" in forced.err
    status, document = mtlsctl.json("truststore", "show")
    assert status == 0
    assert not FINGERPRINTS & {it["fingerprint_sha256"] for it in document["domains"][0]["anchors"]}


def let_the_overlap_pass(gateway: Deployment) -> None:
    """Have the sync remember that the anchors have been unused for long."""
    stored = gateway.s3.get_object(Bucket=gateway.bucket, Key=layout.SYNC_NOTES)
    notes = json.loads(stored["Body"].read())
    notes["unused_since"] |= dict.fromkeys(FINGERPRINTS, timing.to_rfc3339(builders.NOW - timedelta(days=2)))
    gateway.s3.put_object(Bucket=gateway.bucket, Key=layout.SYNC_NOTES, Body=json.dumps(notes).encode())


def test_a_domain_that_is_none_of_the_stacks_is_refused(mtlsctl: Mtlsctl) -> None:
    status, document = mtlsctl.json("truststore", "show", "--domain", "api.elsewhere.example")

    assert (status, document["error"]["code"], document["error"]["expected"]) == (2, "MTLS-403", f"one of {DOMAIN}")


def test_the_last_ca_is_not_distrusted_and_whose_clients_it_would_refuse_is_said(
    mtlsctl: Mtlsctl, gateway: Deployment
) -> None:
    everything = mtlsctl.json("truststore", "show")[1]["domains"][0]["anchors"]
    (held,) = pki.from_pem(gateway.value(gateway.client)["certificate"])
    ours = next(pki.fingerprint(it) for it in gateway.published() if it.subject == held.issuer)
    others = {it["fingerprint_sha256"] for it in everything} - {ours}
    for other in others:
        gateway.s3.put_object(Bucket=gateway.bucket, Key=layout.distrusted_anchor_key(other), Body=b"")
    try:
        status, document = mtlsctl.json("truststore", "distrust", ours, "--yes")
    finally:
        for other in others:
            gateway.s3.delete_object(Bucket=gateway.bucket, Key=layout.distrusted_anchor_key(other))

    assert (status, document["distrusted"], document["stop"]["guard"]) == (1, False, "empty")
    assert "e2e-gateway/client" in {it["secret"] for it in document["refused"] if "AWSCURRENT" in it["labels"]}
    listed = gateway.s3.list_objects_v2(Bucket=gateway.bucket, Prefix=layout.DISTRUSTED_ANCHORS)
    assert not listed.get("Contents")
