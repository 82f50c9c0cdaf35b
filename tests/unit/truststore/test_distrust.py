"""What an operator distrusts: out with the next publish, whatever holds it, and never the last."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509

from mtls_rotation.aws.bucket import CertificateBucket, Stored
from mtls_rotation.aws.certificate_index import FiledCertificate
from mtls_rotation.contract.layout import DISTRUSTED_ANCHORS, SYNC_NOTES, distrusted_anchor, distrusted_anchor_key
from mtls_rotation.errors import TruststoreGuardError
from mtls_rotation.pki import certificates as pki
from mtls_rotation.targets.limits import API_GATEWAY
from mtls_rotation.truststore import distrust
from mtls_rotation.truststore.distrust import refused
from mtls_rotation.truststore.guards import Guard
from mtls_rotation.truststore.observation import DistrustEntry, Observation, StaticEntry
from mtls_rotation.truststore.plan import Settings
from mtls_rotation.truststore.publish import Publish, PublishInPart, Stopped, choose
from mtls_rotation.truststore.sync import SyncResult
from tests.kit import builders
from tests.kit.fakes import refused as refused_call
from tests.kit.stack import BUCKET, CA, CLIENT, Stack
from tests.unit.truststore.test_guards import LONG_AGO, ROOTS, clients_of

NEWER = builders.root("Newer CA")


def entry(certificate: x509.Certificate) -> DistrustEntry:
    """The bare word against a certificate."""
    named = pki.fingerprint(certificate)
    return DistrustEntry(distrusted_anchor_key(named), named)


def put(stack: Stack, name: str, body: str = "") -> None:
    stack.clients.s3.put_object(Bucket=BUCKET, Key=f"{DISTRUSTED_ANCHORS}{name}", Body=body.encode())


def sync(stack: Stack) -> SyncResult:
    """The next one that may update the domain."""
    stack.pass_time(minutes=1)
    return stack.reconcile()


def take_back(stack: Stack, name: str) -> None:
    stack.clients.s3.delete_object(Bucket=BUCKET, Key=f"{DISTRUSTED_ANCHORS}{name}")


@pytest.fixture
def old(ca: pki.CertifiedKey) -> str:
    return pki.fingerprint(ca.certificate)


@pytest.fixture
def gateway(stack: Stack) -> Stack:
    """A stack whose gateway trusts the CA that its client chains to, and a further one that somebody uploaded."""
    stack.with_gateway()
    stack.clients.s3.put_object(
        Bucket=BUCKET, Key="anchors/static/newer.pem", Body=pki.to_pem(NEWER.certificate).encode()
    )
    stack.pass_time(hours=2)
    stack.reconcile()
    return stack


def test_what_is_distrusted_leaves_with_the_next_sync_though_a_client_chains_to_it(gateway: Stack, old: str) -> None:
    put(gateway, old)
    result = sync(gateway)

    assert gateway.deployed() == {pki.fingerprint(NEWER.certificate)}
    (out,) = [it for it in result.plan.left_out if it.fingerprint == old]
    assert (out.reason, out.rejected) == (f"it is distrusted by anchors/distrusted/{old}", False)
    assert json.loads(gateway.objects()[SYNC_NOTES])["unused_since"] == {}


def test_an_upload_that_holds_it_does_not_keep_it_in(gateway: Stack) -> None:
    put(gateway, pki.fingerprint(NEWER.certificate), pki.to_pem(NEWER.certificate))
    result = sync(gateway)

    assert pki.fingerprint(NEWER.certificate) not in gateway.deployed()
    assert [it.key for it in result.plan.left_out] == ["anchors/static/newer.pem"]


@pytest.mark.parametrize("kept", [True, False], ids=["named with its certificate", "named alone"])
def test_every_certificate_of_its_key_goes_with_it(gateway: Stack, kept: bool) -> None:
    """Whoever has the key of the one has that of the other."""
    renewed, _ = builders.Foreign(common_name="Newer CA, renewed", key=NEWER.key).make()
    put(gateway, pki.fingerprint(NEWER.certificate), pki.to_pem(NEWER.certificate) if kept else "")
    gateway.clients.s3.put_object(Bucket=BUCKET, Key="anchors/static/renewed.pem", Body=pki.to_pem(renewed).encode())
    sync(gateway)
    assert pki.fingerprint(renewed) not in gateway.deployed()

    gateway.clients.s3.delete_object(Bucket=BUCKET, Key="anchors/static/newer.pem")
    sync(gateway)
    assert (pki.fingerprint(renewed) in gateway.deployed()) is not kept


@pytest.mark.parametrize("body", ["rubbish", "[]", pki.to_pem(NEWER.certificate)], ids=["rubbish", "json", "another's"])
def test_whatever_is_written_over_it_the_name_counts(gateway: Stack, old: str, body: str) -> None:
    put(gateway, old, body)
    sync(gateway)

    assert gateway.deployed() == {pki.fingerprint(NEWER.certificate)}


@pytest.mark.parametrize("name", ["{}.pem", "x{}", "{}/", "{}/1"], ids=["suffix", "prefix", "folder", "below"])
def test_a_name_that_is_no_fingerprint_takes_nothing_out_and_is_told_once(gateway: Stack, old: str, name: str) -> None:
    gateway.heard()
    put(gateway, name.format(old))
    for _ in range(2):
        sync(gateway)

    assert old in gateway.deployed()
    told = gateway.heard("Truststore Distrust Refused")
    assert [it["detail"]["key"] for it in told] == (
        [] if name == "{}/" else [f"{DISTRUSTED_ANCHORS}{name.format(old)}"]
    )


@pytest.mark.parametrize("name", ["A" * 64, "a" * 63, "a" * 65, "g" * 64, "", "a" * 64 + "\n"])
def test_a_fingerprint_is_64_digits_in_lower_case(name: str) -> None:
    assert not distrusted_anchor(f"{DISTRUSTED_ANCHORS}{name}")
    assert distrust.read(f"{DISTRUSTED_ANCHORS}{name}", ()).problem


def test_a_truststore_is_never_emptied_and_the_guard_says_that_it_is_the_last(gateway: Stack, old: str) -> None:
    before = gateway.deployed()
    put(gateway, old)
    put(gateway, pki.fingerprint(NEWER.certificate))
    with pytest.raises(TruststoreGuardError) as stopped:
        gateway.reconcile(force=True)

    assert gateway.deployed() == gateway.published() == before
    assert "everything that is trusted now is distrusted" in stopped.value.found
    assert "still let in" in stopped.value.found
    assert "mtlsctl rotate --all --ca" in stopped.value.remedy


SMALL = replace(API_GATEWAY, capacity=1)


def seen_with(*distrusted: x509.Certificate, deployed: int = 3) -> Observation:
    """Three clients, each of a CA of its own; the CAs of so many are deployed."""
    seen = clients_of(*ROOTS[:3], deployed=tuple(ROOTS[:deployed]))
    return replace(seen, distrusted=tuple(map(entry, distrusted)))


def test_no_guard_takes_an_operators_word_for_a_fault() -> None:
    """Two of three at once, each with a client that is accepted now."""
    released = choose(seen_with(*ROOTS[:2]), Settings(), API_GATEWAY)

    assert isinstance(released, Publish)
    assert set(released.plan.anchors) == {pki.fingerprint(ROOTS[2])}


def test_it_goes_while_a_guard_stops_all_else() -> None:
    """Two CAs are more than the truststore takes, so nothing new goes in; the distrusted one goes out."""
    seen = seen_with(ROOTS[0], deployed=2)
    released = choose(seen, Settings(), SMALL)

    assert isinstance(released, PublishInPart)
    assert (released.stop.guard, set(released.plan.anchors)) == (Guard.TOO_LARGE, {pki.fingerprint(ROOTS[1])})
    assert released.plan.unused_since == {}
    assert isinstance(choose(replace(seen, distrusted=()), Settings(), SMALL), Stopped)


def test_it_goes_while_what_would_be_dropped_besides_waits_for_an_operator() -> None:
    seen = replace(
        seen_with(ROOTS[0]),
        live=frozenset(),
        issued=(),
        unused_since=dict.fromkeys(map(pki.fingerprint, ROOTS), LONG_AGO),
    )
    seen = replace(seen, static=(StaticEntry("b", ROOTS[3]),))
    released = choose(seen, Settings(), API_GATEWAY)

    assert isinstance(released, PublishInPart)
    assert (released.stop.guard, set(released.plan.anchors)) == (
        Guard.DROPS_TOO_MANY,
        set(map(pki.fingerprint, ROOTS[1:])),
    )


def test_what_is_let_in_again_comes_back_where_something_holds_it(gateway: Stack, old: str) -> None:
    named = pki.fingerprint(NEWER.certificate)
    put(gateway, named)
    sync(gateway)
    put(gateway, old)
    take_back(gateway, named)
    sync(gateway)
    assert gateway.deployed() == {named}

    take_back(gateway, old)
    sync(gateway)
    assert gateway.deployed() == {named, old}


def test_what_nothing_holds_any_more_does_not_come_back(gateway: Stack, old: str) -> None:
    named = pki.fingerprint(NEWER.certificate)
    put(gateway, named)
    gateway.clients.s3.delete_object(Bucket=BUCKET, Key="anchors/static/newer.pem")
    sync(gateway)
    take_back(gateway, named)
    sync(gateway)

    assert gateway.deployed() == {old}


def test_each_word_is_written_to_the_events_once(gateway: Stack, old: str) -> None:
    gateway.heard()
    put(gateway, old)
    for _ in range(2):
        sync(gateway)
    (told,) = gateway.heard("Truststore Anchor Distrusted")
    assert told["detail"]["subject"].startswith("CN=Test CA,")
    assert told["detail"]["fingerprint_sha256"] == old
    assert told["detail"]["key"] == f"anchors/distrusted/{old}"

    take_back(gateway, old)
    for _ in range(2):
        sync(gateway)
    (told,) = gateway.heard("Truststore Distrust Withdrawn")
    assert told["detail"] == {"key": f"anchors/distrusted/{old}", "fingerprint_sha256": old}


def test_a_ca_whose_former_one_is_distrusted_rotates_and_is_trusted(gateway: Stack, old: str) -> None:
    put(gateway, old)
    sync(gateway)
    gateway.time.meanwhile.append(lambda: gateway.reconcile())
    gateway.rotate(CA)
    gateway.rotate(CLIENT)

    assert old not in gateway.deployed()
    assert pki.fingerprint(gateway.certificate(gateway.at("AWSCURRENT", CA), CA)) in gateway.deployed()


def test_who_is_refused_is_told_by_secret_and_by_certificate() -> None:
    ends = builders.NOW + timedelta(days=3)
    filed = [
        FiledCertificate(pki.fingerprint(ROOTS[0]), "client-0", "older", "a1", LONG_AGO, not_after=ends),
        FiledCertificate(pki.fingerprint(ROOTS[0]), "client-0", "over", "a2", LONG_AGO, not_after=LONG_AGO),
        FiledCertificate(pki.fingerprint(ROOTS[0]), "ca", "v", "a3", LONG_AGO, authority=True),
    ]
    seen = seen_with(ROOTS[0])
    found = refused(replace(seen, issued=(*filed, *seen.issued)))

    assert [(it.secret, it.version_id, it.serial_number, it.held, it.not_after) for it in found] == [
        ("client-0", "v", "5e1", True, None),
        ("client-0", "older", "a1", False, ends),
    ]
    assert refused(seen_with()) == ()


def test_one_that_cannot_be_read_now_counts_by_its_name_and_holds_nothing_up(
    gateway: Stack, old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(gateway, old, "whatever")
    read = CertificateBucket.read

    def failing(bucket: CertificateBucket, key: str, version_id: str | None = None) -> Stored | None:
        if key.startswith(DISTRUSTED_ANCHORS):
            raise refused_call("SlowDown", "GetObject", status=503)
        return read(bucket, key, version_id)

    monkeypatch.setattr(CertificateBucket, "read", failing)
    result = sync(gateway)

    assert gateway.deployed() == {pki.fingerprint(NEWER.certificate)}
    assert result.retry_after is not None


def test_thousands_of_them_hold_nothing_up_and_all_their_names_count(
    gateway: Stack, old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtls_rotation.truststore.anchor_objects._WORDS_READ", 3)
    monkeypatch.setattr("mtls_rotation.truststore.anchor_objects._MOST_WORDS", 5)
    for number in range(12):
        put(gateway, f"{number:064x}")
    put(gateway, old)
    put(gateway, "f" * 64, "x" * 70_000)
    fetched: list[str] = []
    gateway.clients.s3.meta.events.register(
        "before-parameter-build.s3.GetObject", record := lambda params, **_: fetched.append(params["Key"])
    )
    counts = []
    for _ in range(4):
        sync(gateway)
        counts.append(sum(it.startswith(DISTRUSTED_ANCHORS) for it in fetched))
        assert gateway.deployed() == {pki.fingerprint(NEWER.certificate)}
    gateway.clients.s3.meta.events.unregister("before-parameter-build.s3.GetObject", record)

    assert counts[-1] == 5
    assert len(gateway.heard("Truststore Anchor Distrusted")) == 14
