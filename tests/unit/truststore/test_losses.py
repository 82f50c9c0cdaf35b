"""The bucket is an index and a copy: lost or changed by hand, it shuts nobody out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mtls_rotation.aws.certificate_index import FiledCertificate
from mtls_rotation.contract.issuance import Issuance
from mtls_rotation.contract.layout import SYNC_NOTES, TRUSTSTORE, IssuedKey, managed_anchor_key
from mtls_rotation.errors import TruststoreGuardError, VersioningSuspendedError
from mtls_rotation.pki import certificates as pki
from mtls_rotation.rotation.rebuild import Rebuild
from mtls_rotation.rotation.request import Step
from mtls_rotation.truststore.observation import Observation
from tests.kit import builders, losses
from tests.kit.stack import BUCKET, CA, CLIENT, DOMAIN, NAME, Stack


@pytest.fixture
def gateway(stack: Stack) -> Stack:
    """A stack with a gateway, whose certificates were all issued long ago, and whose sync has run."""
    stack.with_gateway()
    stack.pass_time(hours=2)
    stack.reconcile()
    return stack


def anchor_of(stack: Stack, secret: str, label: str = "AWSCURRENT") -> str:
    (anchor,) = pki.from_pem(stack.value(stack.at(label, secret), secret)["anchor"])
    return pki.fingerprint(anchor)


def rotate(stack: Stack, secret: str = CLIENT) -> str:
    """A rotation, with the syncs that it asks for; the anchor of what is AWSCURRENT now."""
    token = stack.begin(secret)
    for step in Step:
        stack.step(step, token, secret)
        stack.pass_time(seconds=31)
        stack.reconcile()
    return anchor_of(stack, secret)


class TestTheTruststoreItself:
    def test_garbage_over_it_takes_out_no_ca_that_is_in_its_overlap(self, gateway: Stack) -> None:
        """A client fetched its certificate a minute before its last rotation, and holds it yet."""
        before = rotate(gateway)
        rotate(gateway, CA)
        gateway.pass_time(hours=2)
        for _ in range(2):
            rotate(gateway)
        assert before in gateway.deployed()
        losses.overwrite(gateway, TRUSTSTORE)
        gateway.pass_time(seconds=31)
        gateway.reconcile()

        assert {before, anchor_of(gateway, CA)} <= gateway.deployed()

    def test_garbage_over_it_and_the_anchor_lost_keep_the_client_accepted(self, gateway: Stack) -> None:
        anchor = rotate(gateway)
        losses.overwrite(gateway, TRUSTSTORE)
        losses.lose(gateway, "anchors/managed/")
        gateway.pass_time(hours=2)
        gateway.reconcile()

        assert anchor in gateway.deployed()

    def test_one_brought_back_from_last_week_takes_out_nothing_that_came_since(self, gateway: Stack) -> None:
        rotate(gateway, CA)
        anchor = rotate(gateway)
        losses.bring_back(gateway, TRUSTSTORE)
        losses.lose(gateway, "anchors/", "issued/", "state/")
        gateway.pass_time(seconds=31)
        gateway.reconcile()

        assert anchor in gateway.deployed()

    def test_an_overlap_of_last_week_is_none_of_today(self, gateway: Stack, ca: pki.CertifiedKey) -> None:
        """Notes that were brought back say since when an anchor was unused; it has been in use again since."""
        partner = pki.to_pem(builders.foreign()).encode()
        losses.overwrite(gateway, "anchors/static/partner.pem", partner)
        gateway.reconcile()
        losses.lose(gateway, "anchors/static/")
        gateway.pass_time(minutes=1)
        gateway.reconcile()
        notes = gateway.objects()[SYNC_NOTES]
        losses.overwrite(gateway, "anchors/static/partner.pem", partner)
        losses.overwrite(
            gateway, "anchors/static/other.pem", pki.to_pem(builders.foreign(common_name="Other")).encode()
        )
        gateway.pass_time(days=7)
        gateway.reconcile()
        assert len(gateway.published()) == 3
        losses.overwrite(gateway, SYNC_NOTES, notes)
        losses.lose(gateway, "anchors/static/partner.pem")
        gateway.reconcile()

        assert len(gateway.published()) == 3

    def test_a_version_that_a_domain_runs_and_nobody_can_read_is_replaced_only_with_force(self, gateway: Stack) -> None:
        anchor = rotate(gateway)
        gateway.heard()
        runs = gateway.gateway.domains[DOMAIN].version_id
        losses.destroy(gateway, TRUSTSTORE, "state/")
        with pytest.raises(TruststoreGuardError, match="not in the bucket any more"):
            gateway.reconcile()
        assert gateway.gateway.domains[DOMAIN].version_id == runs
        (event,) = gateway.heard("Truststore Publish Stopped")
        assert event["detail"]["guard"] == "runs-unknown"
        gateway.reconcile(force=True)

        assert gateway.gateway.domains[DOMAIN].version_id != runs
        assert gateway.deployed() == {anchor}

    def test_no_force_replaces_what_nobody_knows_while_nothing_is_filed_for_a_secret(self, gateway: Stack) -> None:
        anchor = rotate(gateway)
        losses.destroy(gateway)
        with pytest.raises(TruststoreGuardError, match=f"nothing filed for what is in use of {CA}, {CLIENT}"):
            gateway.reconcile(force=True)
        assert not [it for it in Rebuild(gateway.services).run() if it.problem]
        gateway.reconcile(force=True)

        assert anchor in gateway.deployed()

    def test_a_domain_that_is_only_behind_brings_nothing_back(self, gateway: Stack) -> None:
        """What the published edition lacks, and an older one has, was taken out by a decision."""
        losses.overwrite(gateway, "anchors/static/partner.pem", pki.to_pem(builders.foreign()).encode())
        gateway.reconcile()
        losses.lose(gateway, "anchors/static/")
        gateway.reconcile()
        gateway.pass_time(hours=2)
        gateway.gateway.refuse_updates = "TooManyRequestsException"
        for _ in range(3):
            gateway.pass_time(minutes=1)
            gateway.reconcile()
            assert len(gateway.published()) == 1
        assert len(gateway.deployed()) == 2
        gateway.gateway.refuse_updates = None
        gateway.reconcile()

        assert len(gateway.deployed()) == 1


class TestTheIndex:
    def test_the_bucket_emptied_and_the_ca_rotated_shut_nobody_out(self, gateway: Stack) -> None:
        """What `mtlsctl doctor` advised: the truststore was published with the new CA alone."""
        old = rotate(gateway)
        losses.lose(gateway)
        new = rotate(gateway, CA)
        for _ in range(4):
            gateway.pass_time(hours=2)
            gateway.reconcile()

        assert {old, new} <= gateway.deployed()
        assert [str(it) for it in gateway.sync.preview().plan.anchors[old].reasons] == [f"may be in use by {CLIENT}"]

    def test_once_every_secret_has_rotated_the_index_is_whole_again(self, gateway: Stack) -> None:
        old = rotate(gateway)
        losses.lose(gateway)
        new = rotate(gateway, CA)
        for _ in range(2):
            rotate(gateway)
        for _ in range(2):
            gateway.pass_time(hours=2)
            gateway.reconcile()

        assert (old in gateway.deployed(), new in gateway.deployed()) == (False, True)

    def test_one_object_lost_of_what_is_in_use_keeps_its_anchor(self, gateway: Stack) -> None:
        rotate(gateway)
        rotate(gateway, CA)
        old = anchor_of(gateway, CA, "AWSPREVIOUS")
        losses.lose(gateway, gateway.issued_key(str(gateway.at("AWSCURRENT"))))
        for _ in range(3):
            gateway.pass_time(hours=2)
            gateway.reconcile()

        assert old in gateway.deployed()

    def test_what_is_at_awsprevious_counts_as_well(self, gateway: Stack) -> None:
        old = rotate(gateway)
        rotate(gateway, CA)
        gateway.pass_time(hours=2)
        rotate(gateway)
        losses.lose(gateway, "issued/", "state/")
        rotate(gateway, CA)
        for _ in range(3):
            gateway.pass_time(hours=2)
            gateway.reconcile()

        assert old in gateway.deployed()

    def test_a_ca_that_was_lost_and_is_deployed_is_filed_anew(self, gateway: Stack) -> None:
        anchor = rotate(gateway)
        for damage in (losses.lose, losses.overwrite):
            damage(gateway, managed_anchor_key(anchor))
            gateway.reconcile()
            assert pki.fingerprint(pki.from_pem(gateway.objects()[managed_anchor_key(anchor)].decode())[0]) == anchor

    def test_a_certificate_that_an_operator_put_has_no_ca_trusted(self, gateway: Stack) -> None:
        rotate(gateway)
        own = builders.root("Own CA")
        value = builders.issued_value(builders.client_definition(), builders.leaf(own))
        put = gateway.clients.secretsmanager.put_secret_value
        put(SecretId=CLIENT, SecretString=value)
        for _ in range(2):
            rotate(gateway)

        assert pki.fingerprint(own.certificate) not in gateway.published()


class TestTags:
    def test_a_secret_that_lost_its_tag_keeps_its_anchor(self, gateway: Stack) -> None:
        old = rotate(gateway)
        losses.strip_the_tag(gateway, CLIENT)
        rotate(gateway, CA)
        for _ in range(3):
            gateway.pass_time(hours=2)
            gateway.reconcile()

        assert old in gateway.deployed()

    def test_one_that_lost_what_is_filed_for_it_too_keeps_its_anchor(self, gateway: Stack) -> None:
        """The function that rotates it tells whose it is."""
        old = rotate(gateway)
        losses.strip_the_tag(gateway, CLIENT)
        losses.lose(gateway, f"issued/{old}/{CLIENT}/", "outside/", "state/")
        rotate(gateway, CA)
        for _ in range(3):
            gateway.pass_time(hours=2)
            gateway.reconcile()

        assert old in gateway.deployed()


class TestVersions:
    def test_nothing_is_published_without_versions_and_what_runs_stays(self, gateway: Stack) -> None:
        runs = gateway.gateway.domains[DOMAIN].version_id
        losses.suspend_versioning(gateway)
        losses.overwrite(gateway, "anchors/static/partner.pem", pki.to_pem(builders.foreign()).encode())
        with pytest.raises(VersioningSuspendedError, match="MTLS-305"):
            gateway.reconcile()
        assert (gateway.gateway.domains[DOMAIN].version_id, gateway.object_versions(TRUSTSTORE)) == (runs, 1)
        losses.suspend_versioning(gateway, "Enabled")
        gateway.reconcile()

        assert len(gateway.deployed()) == 2

    def test_a_sync_that_has_nothing_to_publish_goes_on_without_versions(self, gateway: Stack) -> None:
        losses.suspend_versioning(gateway)
        rotate(gateway)

    def test_one_that_was_written_without_a_version_is_written_again(self, gateway: Stack) -> None:
        body = gateway.objects()[TRUSTSTORE]
        losses.suspend_versioning(gateway)
        mark = {"written-by": "mtls-rotation"}
        gateway.clients.s3.put_object(Bucket=BUCKET, Key=TRUSTSTORE, Body=body, Metadata=mark)
        losses.suspend_versioning(gateway, "Enabled")
        gateway.reconcile(force=True)  # moto, as no S3 does, has forgotten the versions before

        assert gateway.gateway.domains[DOMAIN].version_id not in {None, "null"}
        assert gateway.deployed() == gateway.published()


def test_a_rotation_of_the_ca_says_that_it_waits_for_versions(gateway: Stack) -> None:
    losses.suspend_versioning(gateway)
    token = gateway.begin(CA)
    gateway.step(Step.CREATE, token, CA)
    with pytest.raises(VersioningSuspendedError, match="versioning suspended"):
        gateway.step(Step.SET, token, CA)
    assert gateway.at("AWSCURRENT", CA) != token


class TestRebuild:
    def test_everything_is_filed_anew_as_it_was(self, gateway: Stack) -> None:
        for secret in (CLIENT, CA, CLIENT):
            rotate(gateway, secret)
        before = gateway.objects()
        losses.lose(gateway, "issued/", "outside/", "anchors/managed/")
        said = list(Rebuild(gateway.services).run())

        kept = tuple(f"{it.secret}/{it.version_id}." for it in said)
        filed = {key: body for key, body in before.items() if any(it in key for it in kept)}
        assert not [it for it in said if it.problem]
        assert filed.items() <= gateway.objects().items()
        assert {key for key in before if key.startswith("anchors/managed/")} <= set(gateway.objects())

    def test_what_was_written_over_is_mended_and_what_is_right_stays(self, gateway: Stack) -> None:
        anchor = rotate(gateway)
        before = gateway.objects()
        losses.overwrite(gateway, managed_anchor_key(anchor))
        losses.overwrite(gateway, gateway.issued_key(str(gateway.at("AWSCURRENT"))))
        written = [key for it in Rebuild(gateway.services).run() for key in it.written]

        assert sorted(written) == sorted(
            {managed_anchor_key(anchor), gateway.issued_key(str(gateway.at("AWSCURRENT")))}
        )
        assert gateway.objects() == before

    def test_a_secret_that_lost_its_tag_is_filed_as_well(self, gateway: Stack) -> None:
        rotate(gateway)
        losses.strip_the_tag(gateway, CLIENT)
        losses.lose(gateway, "issued/", "outside/")
        assert CLIENT in {it.secret for it in Rebuild(gateway.services).run() if it.written}

    def test_it_says_what_it_would_write_and_writes_nothing(self, gateway: Stack) -> None:
        rotate(gateway)
        losses.lose(gateway, "issued/")
        before = gateway.objects()
        assert [it for it in Rebuild(gateway.services).run(write=False) if it.written]
        assert gateway.objects() == before


def test_one_of_the_cas_of_a_chain_lost_in_the_index_keeps_the_others_in(gateway: Stack) -> None:
    """A certificate lies under each CA that it chains to: one object fewer is missed."""
    keys = [IssuedKey(it, CLIENT, "v1", "1", of=2) for it in ("a" * 64, "b" * 64)]
    assert [IssuedKey.parse(str(it)) for it in keys] == keys
    filed = [FiledCertificate(it.anchor, CLIENT, "v1", "1", gateway.moment, of=2) for it in keys]
    version = frozenset({(CLIENT, "v1")})
    seen = Observation(gateway.moment, version, frozenset(), tuple(filed), in_place=version)

    assert (seen.doubtful, replace(seen, issued=tuple(filed[:1])).doubtful) == ((), (CLIENT,))


@pytest.mark.parametrize("how", ["a CA", "somebody else's CA", "below no CA of ours"])
def test_a_secret_that_somebody_tagged_has_no_ca_trusted_by_it(gateway: Stack, how: str) -> None:
    """Whoever may make and tag secrets waits until the bucket is lost, or deletes one object."""
    rotate(gateway)
    gateway.bound(Issuance(NAME, frozenset({CA, CLIENT})))
    intruder = builders.root("Intruder")
    if how == "a CA":
        value = builders.issued_value(builders.ca_definition(), intruder)
    elif how == "somebody else's CA":
        issuer = {"type": "external", "ca_certificates": pki.to_pem(intruder.certificate)}
        definition = builders.client_definition(issuer=issuer, trusted_by_gateway=True)
        value = builders.issued_value(definition, builders.leaf(intruder))
    else:
        value = builders.issued_value(builders.client_definition(), builders.leaf(intruder))
    gateway.add_secret("team/tagged", value)
    own = {key for key in gateway.objects() if key.startswith("anchors/managed/")}
    losses.lose(gateway, "issued/", "outside/", "anchors/managed/")
    problems = {it.secret for it in Rebuild(gateway.services).run() if it.problem}
    gateway.pass_time(hours=2)
    gateway.reconcile()

    assert problems == {"team/tagged"}
    assert {key for key in gateway.objects() if key.startswith("anchors/managed/")} == own
    assert pki.fingerprint(intruder.certificate) not in gateway.deployed()
    assert anchor_of(gateway, CLIENT) in gateway.deployed()
