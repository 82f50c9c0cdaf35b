"""An allow-list may bind a name to CAs: who signed is told by signatures, not by what a CA calls itself."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography import x509

from mtls_rotation.aws.bucket import Stored
from mtls_rotation.contract.layout import TRUSTSTORE, managed_anchor_key
from mtls_rotation.contract.revocations import Revocations
from mtls_rotation.gateway.authorizer.allow_list import AllowList
from mtls_rotation.gateway.authorizer.anchors import Anchors
from mtls_rotation.gateway.authorizer.caller import Anchor, AnchorsUnknownError
from mtls_rotation.gateway.authorizer.decision import Decision, decide
from mtls_rotation.pki import authorities, signatures
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.presented import Presented
from tests.kit import builders
from tests.kit.lambda_functions import Context, load, sample
from tests.kit.stack import BUCKET, CA, Stack


def put(stack: Stack, *certificates: x509.Certificate, managed: Iterable[x509.Certificate] = ()) -> None:
    """A truststore of these, of which some are managed."""
    stack.clients.s3.put_object(Bucket=BUCKET, Key=TRUSTSTORE, Body=pki.to_pem(*certificates).encode())
    for it in managed:
        key = managed_anchor_key(pki.fingerprint(it))
        stack.clients.s3.put_object(Bucket=BUCKET, Key=key, Body=pki.to_pem(it).encode())


def of(anchors: Anchors, certificate: x509.Certificate) -> tuple[str, ...]:
    return tuple(it.fingerprint for it in anchors.of(Presented.from_pem(pki.to_pem(certificate))))


def decided(anchors: Anchors, certificate: x509.Certificate, **entry: Any) -> Decision:
    listed = {"routes": {"GET /": [{"name": "subject:CN=billing"} | entry]}}
    allow_list = (lambda: AllowList.parse(json.dumps(listed), "the test")) if entry else None
    return decide(pki.to_pem(certificate), "GET", "/", Revocations, allow_list, anchors.of)


def verified(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The keys that are tried from now on."""
    tried: list[object] = []

    def has_signed(key: Any, certificate: Any) -> bool:
        tried.append(key)
        return signatures.has_signed(key, certificate)

    monkeypatch.setattr(authorities, "has_signed", has_signed)
    return tried


@pytest.fixture
def anchors(stack: Stack) -> Anchors:
    return Anchors(stack.bucket)


def test_a_partners_ca_of_our_cas_name_is_not_taken_for_ours(
    stack: Stack, anchors: Anchors, ca: pki.CertifiedKey
) -> None:
    namesake = builders.named(ca.certificate.subject)
    put(stack, ca.certificate, namesake.certificate, managed=[ca.certificate])
    ours, theirs = builders.leaf(ca).certificate, builders.leaf(namesake).certificate
    assert ours.issuer == theirs.issuer

    for bound in ("managed", pki.fingerprint(ca.certificate)):
        assert decided(anchors, ours, ca=bound).denial == ""
        assert decided(anchors, theirs, ca=bound).denial == "not-allowed"
    assert decided(anchors, theirs, ca=pki.fingerprint(namesake.certificate)).denial == ""
    told = [decided(anchors, it).context for it in (ours, theirs)]
    assert [it["anchorSha256"] for it in told] == [pki.fingerprint(it.certificate) for it in (ca, namesake)]
    assert [it["anchorManaged"] for it in told] == ["true", "false"]


def test_a_partners_intermediate_of_our_cas_name_is_the_partners(
    stack: Stack, anchors: Anchors, ca: pki.CertifiedKey
) -> None:
    partner = builders.root("Partner CA")
    between, key = builders.Foreign(
        subject=ca.certificate.subject, issuer=partner.certificate, signer=partner.key
    ).make()
    leaf = builders.foreign(common_name="billing", authority=False, issuer=between, signer=key)
    put(stack, ca.certificate, partner.certificate, between, managed=[ca.certificate])

    assert of(anchors, leaf) == (pki.fingerprint(between), pki.fingerprint(partner.certificate))
    assert decided(anchors, leaf, ca="managed").denial == "not-allowed"
    assert decided(anchors, leaf, ca=pki.fingerprint(ca.certificate)).denial == "not-allowed"
    assert decided(anchors, leaf, ca=pki.fingerprint(partner.certificate)).denial == ""


def test_hundreds_of_cas_of_our_cas_name_cost_our_caller_one_verification(
    stack: Stack, anchors: Anchors, ca: pki.CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    namesakes = [builders.named(ca.certificate.subject).certificate for _ in range(30)]
    put(stack, *namesakes, ca.certificate, managed=[ca.certificate])
    tried = verified(monkeypatch)

    assert of(anchors, builders.leaf(ca).certificate) == (pki.fingerprint(ca.certificate),)
    assert 1 <= len(tried) <= 2  # its CA's, and what has signed that


def test_a_caller_whose_certificate_names_no_key_is_looked_for_among_ours_first(
    stack: Stack, anchors: Anchors, ca: pki.CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    namesakes = [builders.named(ca.certificate.subject).certificate for _ in range(30)]
    put(stack, *namesakes, ca.certificate, managed=[ca.certificate])
    tried = verified(monkeypatch)
    leaf = builders.foreign(issuer=ca.certificate, signer=ca.key, authority=False)

    assert of(anchors, leaf) == (pki.fingerprint(ca.certificate),)
    assert 1 <= len(tried) <= 2


def test_an_issuer_that_only_came_along_is_no_anchor(stack: Stack, anchors: Anchors, ca: pki.CertifiedKey) -> None:
    partner = builders.root("Partner CA")
    between, key = builders.Foreign(
        subject=ca.certificate.subject, issuer=partner.certificate, signer=partner.key
    ).make()
    leaf = builders.foreign(common_name="billing", authority=False, issuer=between, signer=key)
    put(stack, ca.certificate, partner.certificate, managed=[ca.certificate])

    assert of(anchors, leaf) == ()
    assert decided(anchors, leaf).context["anchorSha256"] == ""
    assert decided(anchors, leaf, ca=["managed", pki.fingerprint(partner.certificate)]).denial == "not-allowed"


def test_a_name_that_is_bound_to_what_the_stack_manages_outlives_each_rotation_of_the_ca(stack: Stack) -> None:
    held = []
    for _ in range(2):
        held.append(stack.certificate(stack.rotate()))
        stack.reconcile()
        stack.pass_time(days=1)
        stack.rotate(CA)
        stack.reconcile()
    held.append(stack.certificate(stack.rotate()))
    for it in held[-2:]:
        assert decided(Anchors(stack.bucket), it, ca="managed", name="*").denial == ""
    assert len({it.issuer for it in held}) == 3


def test_an_anchor_that_is_new_is_found_when_it_is_first_needed(stack: Stack, ca: pki.CertifiedKey) -> None:
    clock = [0.0]
    anchors = Anchors(stack.bucket, lambda: clock[0])
    put(stack, ca.certificate)
    assert of(anchors, builders.leaf(ca).certificate) == (pki.fingerprint(ca.certificate),)
    other = builders.root("Another CA")
    put(stack, ca.certificate, other.certificate, managed=[other.certificate])
    clock[0] += 1.0

    assert anchors.of(Presented.from_pem(pki.to_pem(builders.leaf(other).certificate))) == (
        Anchor(pki.fingerprint(other.certificate), managed=True),
    )


def test_who_has_no_anchor_makes_no_read_of_each_request(
    stack: Stack, ca: pki.CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    newer = stack.bucket.newer

    def counted(key: str, known: Stored | None) -> Stored | None:
        reads.append(key)
        return newer(key, known)

    monkeypatch.setattr(stack.bucket, "newer", counted)
    put(stack, ca.certificate)
    anchors = Anchors(stack.bucket, lambda: 0.0)
    stranger = builders.leaf(builders.root("Stranger")).certificate

    assert [of(anchors, stranger) for _ in range(100)] == [()] * 100
    assert len(reads) == 1


def test_while_the_truststore_cannot_be_read_what_is_known_holds(
    stack: Stack, ca: pki.CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    anchors = Anchors(stack.bucket, lambda: clock[0])
    leaf = builders.leaf(ca).certificate
    put(stack, ca.certificate, managed=[ca.certificate])
    assert decided(anchors, leaf, ca="managed").denial == ""

    def fail(*_: object) -> Any:
        raise ClientError({"Error": {"Code": "SlowDown"}}, "GetObject")

    monkeypatch.setattr(stack.bucket, "newer", fail)
    clock[0] += 1000.0
    assert decided(anchors, leaf, ca="managed").denial == ""

    fresh = Anchors(stack.bucket, lambda: clock[0])
    assert decided(fresh, leaf).denial == ""
    assert decided(fresh, leaf).context["anchorSha256"] == ""
    assert decided(fresh, leaf, name="subject:CN=other", ca="managed").denial == "not-allowed"
    with pytest.raises(AnchorsUnknownError):
        decided(fresh, leaf, ca="managed")


def test_a_renewed_ca_answers_by_both_of_its_certificates(stack: Stack, anchors: Anchors) -> None:
    old = builders.Foreign(common_name="Partner CA", not_after=builders.NOW + timedelta(days=1))
    certificate, key = old.make()
    renewed = builders.foreign(common_name="Partner CA", key=key)
    leaf = builders.foreign(common_name="billing", authority=False, issuer=renewed, signer=key)
    put(stack, certificate, renewed)

    assert of(anchors, leaf) == (pki.fingerprint(renewed), pki.fingerprint(certificate))


def test_a_client_that_signs_itself_is_its_own_anchor_and_nobody_elses(stack: Stack, anchors: Anchors) -> None:
    itself, key = builders.Foreign(common_name="billing", authority=False).make()
    forged = builders.foreign(common_name="admin", authority=False, issuer=itself, signer=key)
    put(stack, itself, managed=[itself])

    assert of(anchors, itself) == (pki.fingerprint(itself),)
    assert of(anchors, forged) == ()


def test_an_issuer_whose_name_is_encoded_otherwise_is_found(stack: Stack, anchors: Anchors) -> None:
    shouted, key = builders.Foreign(common_name="PARTNER  CA").make()
    ca = builders.foreign(common_name="Partner CA", key=key)
    leaf = builders.foreign(common_name="billing", authority=False, issuer=shouted, signer=key)
    put(stack, ca)

    assert of(anchors, leaf) == (pki.fingerprint(ca),)


def test_the_function_binds_to_the_stacks_own_cas(
    stack: Stack, ca: pki.CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    namesake = builders.named(ca.certificate.subject)
    stack.revocation.run()
    put(stack, ca.certificate, namesake.certificate, managed=[ca.certificate])
    listed = {"routes": {"GET /": [{"name": "subject:CN=billing", "ca": "managed"}]}}
    app = load("authorizer", monkeypatch, ALLOW_LIST=json.dumps(listed))
    effects = []
    for issuer in (ca, namesake):
        event = sample("authorizer")
        pem = pki.to_pem(builders.leaf(issuer).certificate)
        event["requestContext"]["identity"]["clientCert"]["clientCertPem"] = pem
        answer = app.handler(event, Context())
        effects.append(answer["policyDocument"]["Statement"][0]["Effect"])
        assert answer["context"]["anchorSha256"] == pki.fingerprint(issuer.certificate)

    assert effects == ["Allow", "Deny"]


@pytest.mark.parametrize("bound", ["ours", "", [], "ab" * 31, 5])
def test_a_ca_that_is_none_is_refused(bound: Any) -> None:
    listed = {"routes": {"GET /": [{"name": "*", "ca": bound}]}}
    with pytest.raises(Exception, match=r"unusable routes.*ca"):
        AllowList.parse(json.dumps(listed), "the test")


def test_a_fingerprint_may_be_written_as_openssl_prints_it() -> None:
    listed = {"routes": {"GET /": [{"name": "*", "ca": ":".join(["AB"] * 32)}]}}
    (entries,) = AllowList.parse(json.dumps(listed), "the test").routes.values()
    assert entries[0].ca == ("ab" * 32,)
