"""Revoking is one act: an upload, from which come the list, the CRLs and the rotation of what was revoked."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from mtls_rotation.contract import layout
from mtls_rotation.errors import UnusableNoticeError
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.certificate_id import CertificateId
from mtls_rotation.pki.distinguished_names import DistinguishedName, rfc4514
from mtls_rotation.pki.presented import Presented
from mtls_rotation.pki.request import KeyAlgorithm
from mtls_rotation.revocation import crl, notices
from mtls_rotation.revocation.known import Known
from mtls_rotation.revocation.register import Register
from mtls_rotation.rotation.request import Step
from tests.kit import builders, names, odd
from tests.kit.fakes import refused
from tests.kit.stack import BUCKET, CA, CLIENT, Stack


def register(stack: Stack) -> Register:
    stored = stack.bucket.read(layout.REVOCATION_LIST)
    assert stored
    return Register.parse(stored.body)


def published_crl(stack: Stack, ca: x509.Certificate) -> x509.CertificateRevocationList:
    stored = stack.bucket.read(layout.crl_key(pki.fingerprint(ca)))
    assert stored
    found = crl.parse(stored.body)
    assert found is not None
    return found


def crl_number(found: x509.CertificateRevocationList) -> int:
    return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def identity(stack: Stack, certificate: x509.Certificate) -> CertificateId:
    """What names a certificate, by the CAs that the stack knows."""
    return Known(stack.bucket).authorities.identify(certificate)


def notice(certificate: x509.Certificate, **more: str) -> str:
    return json.dumps({"issuer": rfc4514(certificate.issuer), "serial_number": pki.serial(certificate)} | more)


def test_before_anything_is_revoked_the_list_is_there_and_every_ca_has_its_crl(
    stack: Stack, ca: pki.CertifiedKey
) -> None:
    result = stack.revocation.run()

    assert result.crls == (pki.fingerprint(ca.certificate),)
    assert not result.problems
    assert register(stack).revoked == {}
    found = published_crl(stack, ca.certificate)
    assert list(found) == []
    assert found.is_signature_valid(ca.certificate.public_key())  # type: ignore[arg-type]
    assert found.issuer == ca.certificate.subject


def test_a_second_run_writes_nothing(stack: Stack, ca: pki.CertifiedKey) -> None:
    stack.revocation.run()
    stack.heard()
    result = stack.revocation.run()

    assert result.crls == ()
    assert stack.object_versions(layout.REVOCATION_LIST) == 1
    assert stack.object_versions(layout.crl_key(pki.fingerprint(ca.certificate))) == 1
    assert stack.heard() == []


def test_certificates_that_are_filed_under_an_old_key_too_are_revoked_once(stack: Stack, ca: pki.CertifiedKey) -> None:
    token = stack.rotate()
    stack.file_again_without_ends()
    result = stack.revoke("lost.pem", pki.to_pem(stack.certificate(token)))

    assert result.rotated == (CLIENT,)
    assert result.crls == (pki.fingerprint(ca.certificate),)
    assert not result.problems


@pytest.mark.parametrize("form", ["pem", "json", "json with a certificate", "a list"])
def test_an_uploaded_certificate_is_on_the_list_and_on_the_crl_and_its_secret_is_rotated(
    stack: Stack, ca: pki.CertifiedKey, form: str
) -> None:
    token = stack.rotate()
    leaf = stack.certificate(token)
    bodies = {
        "pem": f"This one was lost.\n{pki.to_pem(leaf)}",
        "json": notice(leaf, reason="keyCompromise"),
        "json with a certificate": json.dumps({"certificate": pki.to_pem(leaf), "reason": "superseded"}),
        "a list": f"[{notice(leaf)}]",
    }
    result = stack.revoke("lost", bodies[form])

    assert [it.certificate for it in result.added] == [identity(stack, leaf)]
    assert list(register(stack).revoked) == [identity(stack, leaf)]
    entry = published_crl(stack, ca.certificate).get_revoked_certificate_by_serial_number(leaf.serial_number)
    assert entry is not None
    assert entry.revocation_date_utc == stack.moment.replace(microsecond=0)
    assert result.rotated == (CLIENT,)
    assert [name for name, _ in stack.secrets.rotations] == [CLIENT]
    (event,) = stack.heard("Certificate Revoked")
    assert event["detail"]["serial_number"] == pki.serial(leaf)


def test_what_was_rotated_is_not_rotated_again(stack: Stack) -> None:
    token = stack.rotate()
    stack.revoke("lost.pem", pki.to_pem(stack.certificate(token)))
    ((_, successor),) = stack.secrets.rotations
    for step in Step:
        stack.step(step, successor)

    assert stack.revocation.run().rotated == ()
    assert len(stack.secrets.rotations) == 1
    assert stack.at("AWSPREVIOUS") == token


def test_a_revoked_certificate_that_is_still_pending_never_becomes_current(stack: Stack) -> None:
    first = stack.rotate()
    pending = stack.begin()
    stack.step(Step.CREATE, pending)
    stack.revoke("leaked.pem", pki.to_pem(stack.certificate(pending)))

    assert stack.at("AWSPENDING") != pending
    assert stack.at("AWSCURRENT") == first
    assert stack.secrets.rotations == [(CLIENT, stack.at("AWSPENDING"))]


def test_a_rotation_that_is_under_way_goes_on_when_the_current_certificate_is_revoked(stack: Stack) -> None:
    first = stack.rotate()
    pending = stack.begin()
    stack.step(Step.CREATE, pending)
    result = stack.revoke("lost.pem", pki.to_pem(stack.certificate(first)))

    assert result.rotated == (CLIENT,)
    assert stack.secrets.rotations == [(CLIENT, pending)]


def test_a_certificate_of_another_ca_with_the_same_short_serial_number_has_its_secret_left_alone(
    stack: Stack, ca: pki.CertifiedKey
) -> None:
    """Some CAs count: a serial number alone tells nothing."""
    partner, key = builders.Foreign(common_name="Partner CA").make()
    trusting(stack, partner)
    ours, theirs = (
        builders.foreign(issuer=issuer, signer=signer, serial_number=0x1000, authority=False)
        for issuer, signer in ((ca.certificate, ca.key), (partner, key))
    )
    held = pki.CertifiedKey(key=ca.key, certificate=ours, chain=(), anchor=ca.certificate)
    version = stack.add_secret("a/first", builders.issued_value(builders.client_definition(), held))
    stack.file(held, "a/first", version)
    result = stack.revoke("elsewhere", notice(theirs))

    assert [it.certificate.issuer for it in result.added] == ["CN=Partner CA"]
    assert result.rotated == ()
    assert stack.revoke("here", notice(ours)).rotated == ("a/first",)


def test_a_certificate_that_somebody_else_signed_is_found_too(empty_stack: Stack) -> None:
    leaf = builders.leaf(builders.root("Partner CA"))
    definition = builders.client_definition(issuer={"type": "external"})
    version = empty_stack.add_secret(CLIENT, builders.issued_value(definition, leaf))
    key = layout.OutsideKey(CLIENT, version, pki.serial(leaf.certificate))
    empty_stack.bucket.put_once(str(key), pki.to_pem(leaf.certificate))
    result = empty_stack.revoke("lost.pem", pki.to_pem(leaf.certificate))

    assert result.rotated == (CLIENT,)


def test_a_secret_that_cannot_be_rotated_is_a_problem_and_holds_up_no_other(stack: Stack, ca: pki.CertifiedKey) -> None:
    token = stack.rotate()
    other = builders.leaf(ca)
    version = stack.add_secret("a/first", builders.issued_value(builders.client_definition(), other), rotates=False)
    stack.file(other, "a/first", version)
    result = stack.revoke("lost.pem", pki.to_pem(stack.certificate(token), other.certificate))

    assert result.rotated == (CLIENT,)
    (problem,) = result.problems
    assert "a/first" in problem
    assert "switched off" in problem


def test_a_secret_that_was_deleted_is_no_problem(stack: Stack) -> None:
    token = stack.rotate()
    lost = pki.to_pem(stack.certificate(token))
    stack.clients.secretsmanager.delete_secret(SecretId=CLIENT, RecoveryWindowInDays=7)
    result = stack.revoke("lost.pem", lost)
    assert not result.problems
    assert result.rotated == ()

    stack.clients.secretsmanager.delete_secret(SecretId=CLIENT, ForceDeleteWithoutRecovery=True)
    assert not stack.revocation.run().problems


def test_deleting_the_notice_withdraws_the_revocation(stack: Stack, ca: pki.CertifiedKey) -> None:
    leaf = builders.leaf(ca).certificate
    stack.revoke("hold", notice(leaf, reason="certificateHold"))
    stack.heard()
    stack.clients.s3.delete_object(Bucket=BUCKET, Key="revoked/hold")
    stack.revocation.run()

    assert register(stack).revoked == {}
    assert list(published_crl(stack, ca.certificate)) == []
    (event,) = stack.heard("Revocation Withdrawn")
    assert event["detail"]["serial_number"] == pki.serial(leaf)


def test_one_keeps_the_date_of_its_revocation_when_others_come(stack: Stack, ca: pki.CertifiedKey) -> None:
    first, second = builders.leaf(ca).certificate, builders.leaf(ca).certificate
    stack.revoke("first", pki.to_pem(first))
    since = register(stack).revoked[identity(stack, first)].at
    stack.pass_time(days=1)
    stack.revoke("second", pki.to_pem(second))

    dates = {it.serial_number: it.revocation_date_utc for it in published_crl(stack, ca.certificate)}
    assert dates == {first.serial_number: since, second.serial_number: since + timedelta(days=1)}


def test_the_crls_number_only_grows_and_its_reasons_are_told(stack: Stack, ca: pki.CertifiedKey) -> None:
    numbers = []
    for reason in ("keyCompromise", "unspecified", "superseded"):
        leaf = builders.leaf(ca).certificate
        stack.revoke(reason, notice(leaf, reason=reason))
        found = published_crl(stack, ca.certificate)
        numbers.append(crl_number(found))
        entry = found.get_revoked_certificate_by_serial_number(leaf.serial_number)
        assert entry
        told = [it.value.reason.value for it in entry.extensions if isinstance(it.value, x509.CRLReason)]
        assert told == ([] if reason == "unspecified" else [reason])
    stack.clients.s3.delete_object(Bucket=BUCKET, Key=layout.crl_key(pki.fingerprint(ca.certificate)))
    stack.pass_time(hours=1)
    stack.revocation.run()
    numbers.append(crl_number(published_crl(stack, ca.certificate)))

    assert all(earlier < later for earlier, later in pairwise(numbers))


def test_a_crl_is_renewed_when_half_of_its_time_has_gone(stack: Stack, ca: pki.CertifiedKey) -> None:
    stack.revocation.run()
    first = published_crl(stack, ca.certificate)
    assert first.next_update_utc
    assert first.next_update_utc == stack.moment.replace(microsecond=0) + timedelta(days=7)
    stack.pass_time(days=3, hours=11)
    assert stack.revocation.run().crls == ()
    stack.pass_time(hours=2)
    assert stack.revocation.run().crls == (pki.fingerprint(ca.certificate),)

    second = published_crl(stack, ca.certificate)
    assert second.next_update_utc
    assert second.next_update_utc > first.next_update_utc
    assert second.last_update_utc < first.next_update_utc


def test_a_crl_that_somebody_else_put_there_is_replaced(stack: Stack, ca: pki.CertifiedKey) -> None:
    impostor = builders.named(ca.certificate.subject)
    forged = crl.build(impostor.certificate, impostor.key, (), None, stack.moment, timedelta(days=7))
    key = layout.crl_key(pki.fingerprint(ca.certificate))
    for body in (forged, b"no CRL at all"):
        stack.clients.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        assert stack.revocation.run().crls == (pki.fingerprint(ca.certificate),)
        assert published_crl(stack, ca.certificate).is_signature_valid(ca.certificate.public_key())  # type: ignore[arg-type]


def test_no_crl_is_signed_with_a_key_that_is_not_the_cas(stack: Stack, ca: pki.CertifiedKey) -> None:
    """Whoever may write the CA's secret chooses the key in it."""
    value = stack.value(stack.at("AWSCURRENT", CA), CA)
    another = pki.key_to_pem(builders.root("Intruder").key)
    stack.add_secret("another/ca", value | {"private_key": another})
    version = stack.at("AWSCURRENT", "another/ca") or ""
    filed = layout.IssuedKey(pki.fingerprint(ca.certificate), "another/ca", version, "1", authority=True)
    stack.bucket.put_once(str(filed), value["certificate"])

    result = stack.revocation.run()

    found = published_crl(stack, ca.certificate)
    assert found.is_signature_valid(ca.certificate.public_key())  # type: ignore[arg-type]
    (problem,) = result.problems
    assert "a private key that is not the one of" in problem


def test_a_ca_lists_what_is_revoked_under_its_own_name_and_not_what_its_successor_issued(
    stack: Stack, ca: pki.CertifiedKey
) -> None:
    leaf = builders.leaf(ca).certificate
    stack.rotate(CA)
    stack.revoke("lost", pki.to_pem(leaf))

    after = stack.certificate(stack.at("AWSCURRENT", CA), CA)
    for authority, listed in ((ca.certificate, [leaf.serial_number]), (after, [])):
        found = published_crl(stack, authority)
        assert found.issuer == authority.subject
        assert found.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
        assert [it.serial_number for it in found] == listed


def test_a_ca_does_not_list_what_its_namesake_has_signed(stack: Stack, ca: pki.CertifiedKey) -> None:
    namesake = builders.named(ca.certificate.subject)
    leaf = builders.leaf(ca).certificate
    stack.revoke("lost", pki.to_pem(leaf))

    assert [it.certificate.serial_number for it in register(stack).by(ca.certificate)] == [pki.serial(leaf)]
    assert register(stack).by(namesake.certificate) == ()


def trusting(stack: Stack, *authorities: x509.Certificate) -> None:
    """The stack trusts these too, as partners upload them."""
    body = pki.to_pem(*authorities).encode()
    stack.clients.s3.put_object(Bucket=BUCKET, Key=f"anchors/static/{pki.serial(authorities[0])}.pem", Body=body)
    stack.reconcile()


def signed_by_a_namesake(leaf: x509.Certificate, ca: pki.CertifiedKey) -> tuple[x509.Certificate, pki.CertifiedKey]:
    """A certificate of a CA of the same name, with the same serial number, and that CA."""
    namesake = builders.named(ca.certificate.subject)
    theirs = builders.foreign(
        issuer=ca.certificate, signer=namesake.key, serial_number=leaf.serial_number, authority=False
    )
    return theirs, namesake


def test_a_revoked_certificate_of_a_namesake_with_the_same_serial_number_leaves_ours_alone(
    stack: Stack, ca: pki.CertifiedKey
) -> None:
    token = stack.rotate()
    leaf = stack.certificate(token)
    theirs, namesake = signed_by_a_namesake(leaf, ca)
    # As the truststore may have come to hold it before uploads were looked at so closely.
    stack.clients.s3.put_object(
        Bucket=BUCKET, Key=layout.TRUSTSTORE, Body=pki.to_pem(ca.certificate, namesake.certificate).encode()
    )
    result = stack.revoke("theirs.pem", pki.to_pem(theirs))

    assert result.rotated == ()
    assert register(stack).revocations.include(theirs)
    assert not register(stack).revocations.include(leaf)
    assert list(published_crl(stack, ca.certificate)) == []


def test_a_name_that_two_cas_have_revokes_nobody_unless_it_is_said_which(stack: Stack, ca: pki.CertifiedKey) -> None:
    leaf = builders.leaf(ca).certificate
    theirs, namesake = signed_by_a_namesake(leaf, ca)
    stack.clients.s3.put_object(
        Bucket=BUCKET, Key=layout.TRUSTSTORE, Body=pki.to_pem(ca.certificate, namesake.certificate).encode()
    )
    result = stack.revoke("it", notice(theirs))
    assert "2 CAs have that name" in result.refused["revoked/it"]
    assert register(stack).revoked == {}

    stack.revoke("theirs", notice(theirs, ca_fingerprint_sha256=pki.fingerprint(namesake.certificate)))
    assert register(stack).revocations.include(theirs)
    assert not register(stack).revocations.include(leaf)
    assert stack.revoke("nobodys", notice(theirs, ca_fingerprint_sha256="0" * 64)).refused["revoked/nobodys"]


def test_further_cas_of_the_name_keep_nobody_from_revoking_by_name_what_was_issued_here(
    stack: Stack, ca: pki.CertifiedKey
) -> None:
    leaf = stack.certificate(stack.rotate())
    namesakes = [builders.named(ca.certificate.subject).certificate for _ in range(2)]
    stack.clients.s3.put_object(
        Bucket=BUCKET, Key=layout.TRUSTSTORE, Body=pki.to_pem(*namesakes, ca.certificate).encode()
    )
    result = stack.revoke("it", notice(leaf))

    assert not result.refused
    assert list(register(stack).revoked) == [identity(stack, leaf)]
    assert register(stack).revocations.include(leaf)


def test_a_ca_that_was_renewed_with_its_key_is_one_ca(stack: Stack) -> None:
    partner, key = builders.Foreign(common_name="Partner CA").make()
    renewed = builders.foreign(common_name="Partner CA", key=key, not_after=builders.NOW + timedelta(days=900))
    trusting(stack, partner, renewed)
    leaf = builders.foreign(issuer=partner, signer=key, authority=False)
    result = stack.revoke("it", notice(leaf))

    assert not result.refused
    assert register(stack).revocations.include(leaf)


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.EC_P384, KeyAlgorithm.RSA_2048])
def test_a_crl_is_signed_with_the_digest_that_goes_with_the_key(algorithm: KeyAlgorithm) -> None:
    ca = builders.root(algorithm=algorithm)
    found = crl.parse(crl.build(ca.certificate, ca.key, (), None, builders.NOW, timedelta(days=7)))
    assert found is not None
    assert found.is_signature_valid(ca.certificate.public_key())  # type: ignore[arg-type]
    assert found.signature_hash_algorithm
    assert found.signature_hash_algorithm.name == ("sha384" if algorithm is KeyAlgorithm.EC_P384 else "sha256")


def test_a_ca_whose_key_is_in_kms_signs_its_crl_there(empty_stack: Stack) -> None:
    definition = builders.ca_definition(issuer={"type": "kms"})
    empty_stack.add_secret(CA, definition)
    version = empty_stack.rotate(CA)
    result = empty_stack.revocation.run()

    authority = empty_stack.certificate(version, CA)
    assert result.crls == (pki.fingerprint(authority),)
    assert published_crl(empty_stack, authority).is_signature_valid(authority.public_key())  # type: ignore[arg-type]


@pytest.mark.parametrize(("made_by", "named_since"), [("self-signed", "kms"), ("kms", "self-signed")])
def test_a_ca_signs_its_crl_though_its_secret_names_another_issuer_for_the_next(
    empty_stack: Stack, made_by: str, named_since: str
) -> None:
    empty_stack.add_secret(CA, builders.ca_definition(issuer={"type": made_by}))
    version = empty_stack.rotate(CA)
    stored = empty_stack.versions.version(CA, version)
    assert stored
    # A version's value never changes, so the next one holds the same CA, and is filed as such.
    changed = json.loads(stored.value) | {"issuer": {"type": named_since}}
    later = empty_stack.clients.secretsmanager.put_secret_value(SecretId=CA, SecretString=json.dumps(changed))
    authority = empty_stack.certificate(version, CA)
    issued = layout.IssuedKey.parse(empty_stack.issued_key(version, CA))
    assert issued
    empty_stack.bucket.delete(str(replace(issued, authority=True)))
    filed = replace(issued, version_id=later["VersionId"], authority=True)
    empty_stack.bucket.put_once(str(filed), pki.to_pem(authority))
    result = empty_stack.revocation.run()

    assert result.problems == ()
    assert published_crl(empty_stack, authority).is_signature_valid(authority.public_key())  # type: ignore[arg-type]


def test_a_ca_that_cannot_sign_is_a_problem_and_the_list_is_there_all_the_same(stack: Stack) -> None:
    other = builders.root("Gone CA")
    stack.file(other, "gone", "0" * 32, authority=True)
    leaf = builders.leaf(other).certificate
    result = stack.revoke("lost", pki.to_pem(leaf))

    assert identity(stack, leaf) in register(stack).revoked
    assert len(result.crls) == 1
    (problem,) = result.problems
    assert "secret gone" in problem


def test_an_expired_ca_has_no_crl(empty_stack: Stack) -> None:
    empty_stack.add_ca(builders.root(now=builders.NOW - timedelta(days=400), days=365))
    result = empty_stack.revocation.run()

    assert (result.crls, result.problems) == ((), ())


BAD: dict[str, tuple[Any, str]] = {
    "nothing": (b"", "no certificate"),
    "a picture": (b"\x89PNG\xff\xfe", "no text"),
    "a broken certificate": (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "cannot be read"),
    "JSON cut off": (b'{"issuer": ', "JSON that cannot be read"),
    "JSON too deep": (b"[" * 100_000, "JSON that cannot be read"),
    "no issuer": (b'{"serial_number": "5e"}', "either"),
    "an issuer that is no name": (b'{"issuer": "Example", "serial_number": "5e"}', "RFC 4514"),
    "a serial number that is none": (b'{"issuer": "CN=Example", "serial_number": "xyz"}', "hex"),
    "a serial number too long": (b'{"issuer": "CN=Example", "serial_number": "' + b"9" * 81 + b'"}', "80 digits"),
    "a reason that is none": (b'{"issuer": "CN=Example", "serial_number": "5e", "reason": "lost"}', "keyCompromise"),
    "an unknown member": (b'{"issuer": "CN=Example", "serial_number": "5e", "serial": "5e"}', "serial"),
    "a list of texts": (b'["5e", "5f"]', "entry 1"),
    "a SHA-256 fingerprint": (
        b'{"issuer": "CN=Test CA", "serial_number": "' + b"ff" * 32 + b'"}',
        "A fingerprint is none",
    ),
    "a CA that is no fingerprint": (
        b'{"issuer": "CN=Test CA", "serial_number": "5e", "ca_fingerprint_sha256": "5e"}',
        "the SHA-256 fingerprint",
    ),
    "an empty list": (b"[]", "an empty list"),
    "a certificate of version 4": (odd.of_version_4().encode(), "a version that there is not"),
}


# The library warns of serial numbers that a later version will not read.
tolerant = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")


@tolerant
@pytest.mark.parametrize(("body", "reason"), BAD.values(), ids=BAD)
def test_an_upload_that_cannot_be_used_is_refused_once_by_name_and_revokes_nothing(
    stack: Stack, body: bytes, reason: str
) -> None:
    result = stack.revoke("bad", body)

    assert result.added == ()
    (message,) = result.refused.values()
    assert reason in message
    assert message.startswith("MTLS-109 s3://certificates/revoked/bad")
    (event,) = stack.heard("Revocation Refused")
    assert event["detail"]["message"] == message
    stack.revocation.run()
    assert stack.heard("Revocation Refused") == []


@tolerant
@pytest.mark.parametrize("body", [it[0] for it in BAD.values()], ids=BAD)
def test_an_upload_that_cannot_be_used_holds_up_no_other(stack: Stack, ca: pki.CertifiedKey, body: bytes) -> None:
    stack.clients.s3.put_object(Bucket=BUCKET, Key="revoked/a-bad-one", Body=body)
    leaf = builders.leaf(ca).certificate
    result = stack.revoke("good", pki.to_pem(leaf))

    assert list(register(stack).revoked) == [identity(stack, leaf)]
    assert result.crls == (pki.fingerprint(ca.certificate),)
    assert not result.problems


def test_a_certificate_that_is_odd_but_has_a_name_and_a_number_is_revoked_like_any_other(stack: Stack) -> None:
    pem = odd.twice_extended()
    stack.revoke("odd", pem)
    assert list(register(stack).revoked) == [identity(stack, x509.load_pem_x509_certificate(pem.encode()))]


def test_an_upload_that_may_not_be_read_is_tried_again_and_holds_up_no_other(
    stack: Stack, ca: pki.CertifiedKey
) -> None:
    locked, leaf = builders.leaf(ca).certificate, builders.leaf(ca).certificate
    stack.clients.s3.put_object(Bucket=BUCKET, Key="revoked/locked", Body=pki.to_pem(locked).encode())
    stack.clients.s3.put_object(Bucket=BUCKET, Key="revoked/good", Body=pki.to_pem(leaf).encode())
    run = stack.revocation
    read = run._bucket.read

    def denied(key: str, version_id: str | None = None) -> Any:
        if key == "revoked/locked":
            raise refused("AccessDenied", "GetObject")
        return read(key, version_id)

    run._bucket.read = denied  # type: ignore[method-assign]
    result = run.run()
    assert list(register(stack).revoked) == [identity(stack, leaf)]
    assert "AccessDenied" in result.refused["revoked/locked"]

    run._bucket.read = read  # type: ignore[method-assign]
    run.run()
    assert set(register(stack).revoked) == {identity(stack, leaf), identity(stack, locked)}


def test_a_folder_that_the_console_made_is_no_notice(stack: Stack) -> None:
    stack.clients.s3.put_object(Bucket=BUCKET, Key="revoked/", Body=b"")
    assert stack.revocation.run().refused == {}


def test_an_upload_that_is_too_large_is_not_read(stack: Stack) -> None:
    result = stack.revoke("huge", b"x" * (notices.LARGEST_NOTICE + 1))
    assert "1048577 bytes" in result.refused["revoked/huge"]


def many(count: int, issuer: str) -> str:
    return json.dumps([{"issuer": issuer, "serial_number": f"{it:x}"} for it in range(1, count + 1)])


@pytest.mark.parametrize("body", [many(1001, "CN=a"), "-----BEGIN CERTIFICATE-----\n" * 1001])
def test_an_upload_that_names_too_many_is_refused_with_the_count(stack: Stack, body: str) -> None:
    result = stack.revoke("many", body)

    assert "1001 certificates in one object" in result.refused["revoked/many"]
    assert len(stack.heard("Revocation Refused")) == 1


def test_what_the_list_has_no_room_for_is_refused_with_the_count_and_what_was_taken_in_stays(
    stack: Stack, ca: pki.CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtls_rotation.revocation.register.MOST_REVOKED", 5)
    leaf, later = builders.leaf(ca).certificate, builders.leaf(ca).certificate
    stack.revoke("lost", pki.to_pem(leaf))
    result = stack.revoke("many", many(5, pki.subject(ca.certificate)))
    assert "5 certificates more than the list may hold" in result.refused["revoked/many"]
    assert list(register(stack).revoked) == [identity(stack, leaf)]

    # What is too much takes no room from what comes later, and counts itself once there is room.
    stack.revoke("later", pki.to_pem(later))
    assert set(register(stack).revoked) == {identity(stack, leaf), identity(stack, later)}
    stack.bucket.delete("revoked/lost")
    stack.bucket.delete("revoked/later")
    assert not stack.revocation.run().refused
    assert len(register(stack).revoked) == 5


def test_a_list_has_no_room_for_names_without_end(
    stack: Stack, ca: pki.CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtls_rotation.revocation.register.MOST_BYTES", 1000)
    stack.revoke("lost", pki.to_pem(builders.leaf(ca).certificate))

    assert stack.revoke("many", many(5, pki.subject(ca.certificate))).refused
    assert len(register(stack).revoked) == 1


def test_any_number_of_uploads_that_are_no_notices_hold_up_no_other_and_are_told_of_within_bounds(
    stack: Stack, ca: pki.CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtls_rotation.revocation.revocation_list.MOST_REFUSED", 3)
    for number in range(8):
        stack.clients.s3.put_object(Bucket=BUCKET, Key=f"revoked/a-{number}", Body=b"oops")
    leaf = builders.leaf(ca).certificate
    result = stack.revoke("z", pki.to_pem(leaf))

    assert list(register(stack).revoked) == [identity(stack, leaf)]
    assert list(result.refused) == ["revoked/", "revoked/a-0", "revoked/a-1", "revoked/a-2"]
    assert len(stack.heard("Revocation Refused")) == 4
    stack.revocation.run()
    assert stack.heard() == []


def test_more_uploads_than_one_run_reads_release_nobody(
    stack: Stack, ca: pki.CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaf = builders.leaf(ca).certificate
    stack.revoke("lost", pki.to_pem(leaf))
    monkeypatch.setattr("mtls_rotation.revocation.revocation_list.MOST_READ", 2)
    stack.clients.s3.put_object(Bucket=BUCKET, Key="revoked/lost", Body=b"[]")
    for number in range(4):
        stack.clients.s3.put_object(Bucket=BUCKET, Key=f"revoked/a-{number}", Body=b"oops")
    result = stack.revocation.run()

    assert "revoked/" in result.refused
    assert list(register(stack).revoked) == [identity(stack, leaf)]


def test_what_a_run_has_no_time_to_read_keeps_nobody_else_from_being_revoked_and_is_read_by_the_next(
    stack: Stack, ca: pki.CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtls_rotation.revocation.revocation_list.READING_TAKES", 0.0)
    earlier, later = (builders.leaf(ca).certificate for _ in range(2))
    stack.clients.s3.put_object(Bucket=BUCKET, Key="revoked/z", Body=pki.to_pem(earlier).encode())
    result = stack.revoke("a", pki.to_pem(later))
    assert list(register(stack).revoked) == [identity(stack, later)]
    assert "revoked/" in result.refused

    assert not stack.revocation.run().refused
    assert set(register(stack).revoked) == {identity(stack, it) for it in (earlier, later)}


def test_what_was_tried_in_vain_before_has_to_wait_for_what_was_not_read_yet(
    stack: Stack, ca: pki.CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtls_rotation.revocation.revocation_list.READING_TAKES", 0.0)
    leaf = builders.leaf(ca).certificate
    stack.clients.s3.put_object(Bucket=BUCKET, Key="revoked/leaf", Body=pki.to_pem(leaf).encode())
    stack.revoke("a-nobody", json.dumps({"issuer": "CN=Nobody", "serial_number": "5e01"}))
    assert not register(stack).revoked
    stack.revocation.run()

    assert list(register(stack).revoked) == [identity(stack, leaf)]


def test_one_object_that_takes_too_long_is_refused_for_good(
    stack: Stack, ca: pki.CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaf = builders.leaf(ca).certificate
    monkeypatch.setattr("mtls_rotation.revocation.revocation_list.ONE_TAKES", -1.0)
    assert "Upload it in parts" in stack.revoke("slow", pki.to_pem(leaf)).refused["revoked/slow"]
    monkeypatch.undo()

    assert stack.revocation.run().refused
    assert not register(stack).revoked


def test_a_name_without_end_is_refused_and_one_that_all_entries_have_is_read_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []
    readings = DistinguishedName.readings

    def counted(text: str) -> tuple[DistinguishedName, ...]:
        read.append(text)
        return readings(text)

    monkeypatch.setattr(DistinguishedName, "readings", counted)
    for count in (200, 30):
        issuer = ",".join(["O=a"] * count)
        body = json.dumps([{"issuer": issuer, "serial_number": "aa"}] * 1000).encode()
        if count > 50:
            with pytest.raises(UnusableNoticeError, match="no more than 50 attributes"):
                notices.parse(body, "where")
        else:
            assert len(notices.parse(body, "where")) == 1000
    assert len(read) == 2


@tolerant
@pytest.mark.parametrize(
    "number", [0, -5, (1 << 159) + 1, 1 << 319], ids=["zero", "below zero", "21 octets", "40 octets"]
)
@pytest.mark.parametrize("form", ["certificate", "name"])
def test_a_serial_number_that_no_crl_can_hold_is_on_the_list_and_the_crl_says_that_it_leaves_it_out(
    stack: Stack, ca: pki.CertifiedKey, number: int, form: str
) -> None:
    leaf = odd.signed(ca, number)
    body = pki.to_pem(leaf) if form == "certificate" else notice(leaf)
    result = stack.revoke("it", body)

    assert not result.refused
    assert register(stack).revocations.include(leaf)
    assert list(published_crl(stack, ca.certificate)) == []
    (event,) = stack.heard("Revocation List Published")
    assert (event["detail"]["revoked"], event["detail"]["left_out"]) == (0, [pki.serial(leaf)])
    assert stack.revocation.run().crls == ()


@pytest.mark.parametrize("form", ["certificate", "name"])
@pytest.mark.parametrize(
    "value", [(names.PRINTABLE, b"Marks & Sons"), (names.TELETEX, b"M\xe4rks"), (0x02, b"\7")], ids=["&", "T.61", "7"]
)
def test_who_has_a_name_that_cannot_be_decoded_is_let_in_and_can_be_revoked(
    stack: Stack, ca: pki.CertifiedKey, value: tuple[int, bytes], form: str
) -> None:
    pem = odd.named(ca, names.name([[names.attribute(bytes([0x55, 4, 10]), value)]]))
    presented = Presented.from_pem(pem)
    named = {"issuer": pki.subject(ca.certificate), "serial_number": f"{presented.serial_number:x}"}
    result = stack.revoke("it", pem if form == "certificate" else json.dumps(named))

    assert not result.refused
    assert register(stack).revocations.include(presented)
    assert [it.serial_number for it in published_crl(stack, ca.certificate)] == [presented.serial_number]


def test_a_refusal_is_not_said_again_when_something_else_changes(stack: Stack, ca: pki.CertifiedKey) -> None:
    stack.revoke("bad", b"oops")
    stack.heard()
    stack.revoke("good", pki.to_pem(builders.leaf(ca).certificate))

    assert stack.heard("Revocation Refused") == []


@pytest.mark.parametrize(
    "issuer", ["O=Example,CN=Test CA", "CN=Other CA", "CN=Test CA,dnQualifier=20200101-0123456789ab"]
)
def test_a_right_serial_number_with_a_wrong_issuer_is_refused_until_it_is_deleted(stack: Stack, issuer: str) -> None:
    leaf = stack.certificate(stack.rotate())
    stack.revocation.run()
    stack.heard()
    result = stack.revoke("it", json.dumps({"issuer": issuer, "serial_number": pki.serial(leaf)}))

    (message,) = result.refused.values()
    assert rfc4514(leaf.issuer) in message
    assert (result.added, result.rotated) == ((), ())
    (event,) = stack.heard("Revocation Refused")
    assert event["detail"]["message"] == message
    assert stack.revocation.run().refused == result.refused
    assert stack.heard() == []
    stack.bucket.delete("revoked/it")
    assert not stack.revocation.run().refused


def test_a_wrong_issuer_that_is_one_of_our_cas_is_refused_too(stack: Stack, ca: pki.CertifiedKey) -> None:
    leaf = stack.certificate(stack.rotate())
    stack.rotate(CA)
    successor = stack.certificate(stack.at("AWSCURRENT", CA), CA)
    result = stack.revoke("it", json.dumps({"issuer": pki.subject(successor), "serial_number": pki.serial(leaf)}))

    assert pki.subject(ca.certificate) in result.refused["revoked/it"]
    assert register(stack).revoked == {}


@pytest.mark.parametrize("issuer", ["O=Example,CN=Test CA", "CN=Other CA"])
def test_a_name_that_no_trusted_ca_has_is_refused(stack: Stack, issuer: str) -> None:
    result = stack.revoke("it", json.dumps({"issuer": issuer, "serial_number": "5e01"}))

    assert f"serial number 5e01 of {issuer}, and no CA that is known here has that name" in result.refused["revoked/it"]
    assert register(stack).revoked == {}


def test_what_names_an_unknown_ca_counts_once_that_ca_is_trusted(stack: Stack) -> None:
    partner = builders.root("Partner CA")
    leaf = builders.leaf(partner).certificate
    assert stack.revoke("it", notice(leaf)).refused
    trusting(stack, partner.certificate)

    assert not stack.revocation.run().refused
    assert register(stack).revocations.include(leaf)


def test_of_a_notice_that_names_several_those_count_that_are_known(stack: Stack, ca: pki.CertifiedKey) -> None:
    leaf = builders.leaf(ca).certificate
    unknown = json.dumps({"issuer": "CN=Elsewhere", "serial_number": "5e01"})
    result = stack.revoke("it", f"[{unknown}, {notice(leaf)}, {unknown}]")

    assert result.refused["revoked/it"].startswith("2 of its notices: MTLS-109")
    assert register(stack).revocations.include(leaf)


def test_a_notice_with_a_name_as_another_tool_prints_it_in_capitals_is_understood(
    stack: Stack, ca: pki.CertifiedKey
) -> None:
    leaf = builders.leaf(ca).certificate
    shouted = {"issuer": rfc4514(leaf.issuer).replace("Test CA", "TEST CA"), "serial_number": pki.serial(leaf)}
    stack.revoke("it", json.dumps(shouted))

    assert register(stack).revocations.include(leaf)


def test_a_name_that_a_partners_ca_in_the_truststore_has_is_none(stack: Stack) -> None:
    partner = builders.root("Partner CA")
    body = pki.to_pem(partner.certificate).encode()
    stack.clients.s3.put_object(Bucket=BUCKET, Key="anchors/static/partner.pem", Body=body)
    stack.reconcile()

    assert not stack.revoke("it", notice(builders.leaf(partner).certificate)).refused


def test_one_secret_that_cannot_be_rotated_now_holds_up_no_other(stack: Stack, ca: pki.CertifiedKey) -> None:
    token = stack.rotate()
    other = builders.leaf(ca)
    version = stack.add_secret("a/first", builders.issued_value(builders.client_definition(), other))
    stack.file(other, "a/first", version)
    stack.secrets.refuse_describe["a/first"] = "InternalServiceError"
    result = stack.revoke("lost.pem", pki.to_pem(stack.certificate(token), other.certificate))

    assert result.rotated == (CLIENT,)
    assert ["a/first" in problem for problem in result.problems] == [True]


def test_a_revoked_version_that_is_current_and_pending_at_once_is_rotated_and_stays_current(stack: Stack) -> None:
    token = stack.rotate()
    stack.secrets.record(CLIENT).versions[token]["version_stages"].append("AWSPENDING")
    result = stack.revoke("lost.pem", pki.to_pem(stack.certificate(token)))

    assert result.rotated == (CLIENT,)
    assert stack.at("AWSCURRENT") == token


def test_of_two_notices_for_one_certificate_the_reason_that_says_more_counts(
    stack: Stack, ca: pki.CertifiedKey
) -> None:
    leaf = builders.leaf(ca).certificate
    stack.revoke("a", notice(leaf, reason="keyCompromise"))
    stack.revoke("b", pki.to_pem(leaf))
    stack.revoke("c", notice(leaf, reason="superseded"))

    assert register(stack).revoked[identity(stack, leaf)].reason == "keyCompromise"


def test_a_second_run_with_a_reason_on_the_crl_writes_nothing(stack: Stack, ca: pki.CertifiedKey) -> None:
    stack.revoke("it", notice(builders.leaf(ca).certificate, reason="keyCompromise"))
    assert stack.revocation.run().crls == ()
    assert stack.revoke("it", notice(builders.leaf(ca).certificate, reason="superseded")).crls


def test_a_changed_reason_alone_makes_another_crl(stack: Stack, ca: pki.CertifiedKey) -> None:
    leaf = builders.leaf(ca).certificate
    stack.revoke("it", notice(leaf))
    assert stack.revoke("it", notice(leaf, reason="superseded")).crls == (pki.fingerprint(ca.certificate),)


def test_a_notice_as_windows_writes_it_is_read(stack: Stack, ca: pki.CertifiedKey) -> None:
    leaf = builders.leaf(ca).certificate
    stack.revoke("it", notice(leaf).encode("utf-8-sig"))
    assert list(register(stack).revoked) == [identity(stack, leaf)]


def test_a_server_whose_clock_is_behind_finds_the_crl_in_date_and_whose_it_is(
    stack: Stack, ca: pki.CertifiedKey
) -> None:
    stack.pass_time(days=1)
    stack.revocation.run()
    found = published_crl(stack, ca.certificate)
    key_id = ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.key_identifier

    assert found.last_update_utc == stack.moment.replace(microsecond=0) - timedelta(minutes=5)
    assert found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == key_id
    fresh = builders.root(now=stack.moment)
    young = crl.parse(crl.build(fresh.certificate, fresh.key, (), None, stack.moment, timedelta(days=7)))
    assert young is not None
    assert young.last_update_utc >= fresh.certificate.not_valid_before_utc


def test_a_hundred_notices_at_once_are_taken_in_by_one_run(stack: Stack, ca: pki.CertifiedKey) -> None:
    leaves = [builders.leaf(ca).certificate for _ in range(100)]
    for number, leaf in enumerate(leaves):
        stack.clients.s3.put_object(Bucket=BUCKET, Key=f"revoked/{number}", Body=pki.to_pem(leaf).encode())
    stack.revocation.run()

    assert set(register(stack).revoked) == {identity(stack, it) for it in leaves}


def test_a_ca_is_not_revoked_and_the_message_says_what_to_do(stack: Stack, ca: pki.CertifiedKey) -> None:
    result = stack.revoke("ca.pem", pki.to_pem(builders.leaf(ca).certificate, ca.certificate))

    assert result.added == ()
    assert "Rotate the CA's secret" in str(result.refused)


def test_a_private_key_among_the_uploads_is_called_out_and_goes_no_further(stack: Stack, ca: pki.CertifiedKey) -> None:
    leaf = builders.leaf(ca)
    key = pki.key_to_pem(leaf.key)
    result = stack.revoke("both.pem", pki.to_pem(leaf.certificate) + key)

    assert "Delete the object" in result.refused["revoked/both.pem"]
    secret = key.splitlines()[1].encode()
    assert not [name for name, body in stack.objects().items() if secret in body and name != "revoked/both.pem"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"oops", b"\xff", b"[[]]"])
def test_a_notice_that_is_written_over_with_nothing_does_not_let_the_revoked_back_in_and_rings(
    stack: Stack, ca: pki.CertifiedKey, body: bytes
) -> None:
    leaf = builders.leaf(ca).certificate
    stack.revoke("lost", pki.to_pem(leaf))
    for _ in range(2):
        result = stack.revoke("lost", body)

        assert list(result.refused) == ["revoked/lost"]
        assert identity(stack, leaf) in register(stack).revoked


def test_a_notice_that_is_written_over_with_another_stands_until_its_object_is_deleted(
    stack: Stack, ca: pki.CertifiedKey
) -> None:
    first, second = builders.leaf(ca).certificate, builders.leaf(ca).certificate
    stack.revoke("lost", pki.to_pem(first))
    stack.revoke("lost", pki.to_pem(second))
    assert set(register(stack).revoked) == {identity(stack, first), identity(stack, second)}
    assert stack.heard("Revocation Withdrawn") == []

    stack.clients.s3.delete_object(Bucket=BUCKET, Key="revoked/lost")
    stack.revocation.run()
    assert register(stack).revoked == {}


@pytest.mark.parametrize("written", ["5E:01:aB", "0x5e01ab", "005E01AB", " 5e 01 ab\n"])
def test_a_serial_number_is_understood_as_tools_print_it(stack: Stack, written: str) -> None:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"),
            x509.NameAttribute(NameOID.COMMON_NAME, "Elsewhere"),
        ]
    )
    trusting(stack, builders.named(name).certificate)
    stack.revoke("it", json.dumps({"issuer": "CN=Elsewhere, O=Example", "serial_number": written}))

    assert [str(it) for it in register(stack).revoked] == ["serial number 5e01ab of CN=Elsewhere,O=Example"]


def test_an_issuers_name_may_hold_anything_that_a_name_may(stack: Stack) -> None:
    odd = builders.root('Ümläut, "Quoted" + Plus\\Co #1')
    trusting(stack, odd.certificate)
    leaf = builders.leaf(odd).certificate
    stack.revoke("pem", pki.to_pem(leaf))
    stack.revoke("json", notice(leaf))

    assert list(register(stack).revoked) == [identity(stack, leaf)]


@pytest.mark.parametrize(
    "issuer",
    [
        "CN=Partner CA,emailAddress=ca@partner.example,O=Partner\\, Inc.",
        'O = "Partner, Inc.", emailAddress = ca@partner.example, CN = Partner CA',
        'CN=Partner CA, EMAILADDRESS=ca@partner.example, O="Partner, Inc."',
        f"CN=Partner CA,1.2.840.113549.1.9.1=#1612{b'ca@partner.example'.hex()},O=Partner\\, Inc.",
    ],
)
def test_an_issuers_name_may_be_written_as_openssl_and_others_do(stack: Stack, issuer: str) -> None:
    attributes = [
        (NameOID.ORGANIZATION_NAME, "Partner, Inc."),
        (NameOID.EMAIL_ADDRESS, "ca@partner.example"),
        (NameOID.COMMON_NAME, "Partner CA"),
    ]
    partner = builders.named(x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes]))
    trusting(stack, partner.certificate)
    leaf = builders.leaf(partner).certificate
    stack.revoke("it", json.dumps({"issuer": issuer, "serial_number": pki.serial(leaf)}))

    assert list(register(stack).revoked) == [identity(stack, leaf)]


@pytest.mark.parametrize("body", [None, b"oops", b"[]", b'{"sources": {"a": {}}, "revoked": []}'])
def test_a_list_that_somebody_has_deleted_or_broken_is_made_again_as_it_was_and_rings(
    stack: Stack, ca: pki.CertifiedKey, body: bytes | None
) -> None:
    first, second = builders.leaf(ca).certificate, builders.leaf(ca).certificate
    stack.revoke("lost", pki.to_pem(first))
    stack.revoke("lost", pki.to_pem(second))
    before = register(stack)
    stack.pass_time(days=1)
    stack.heard()
    if body is None:
        stack.bucket.delete(layout.REVOCATION_LIST)
    else:
        stack.clients.s3.put_object(Bucket=BUCKET, Key=layout.REVOCATION_LIST, Body=body)
    result = stack.revocation.run()

    assert register(stack) == before
    (problem,) = result.problems
    assert "made again" in problem
    assert stack.heard() == []
    assert not stack.revocation.run().problems


def test_a_list_whose_every_version_is_gone_is_made_again_from_what_was_told_of_it(
    stack: Stack, ca: pki.CertifiedKey
) -> None:
    first, second = builders.leaf(ca).certificate, builders.leaf(ca).certificate
    stack.revoke("lost", pki.to_pem(first))
    stack.revoke("lost", pki.to_pem(second))
    before = register(stack)
    for version in list(stack.bucket.versions(layout.REVOCATION_LIST)):
        stack.clients.s3.delete_object(Bucket=BUCKET, Key=layout.REVOCATION_LIST, VersionId=version)
    stack.pass_time(days=1)
    stack.revocation.run()

    assert register(stack) == before


def test_a_list_of_last_week_that_somebody_put_back_releases_nobody(stack: Stack, ca: pki.CertifiedKey) -> None:
    first, second, third = (builders.leaf(ca).certificate for _ in range(3))
    stack.revoke("lost", pki.to_pem(first))
    old = stack.bucket.read(layout.REVOCATION_LIST)
    assert old
    stack.revoke("lost", pki.to_pem(second))
    stack.revoke("lost", pki.to_pem(third))
    before = register(stack)
    stack.pass_time(days=1)
    stack.heard()
    stack.clients.s3.put_object(Bucket=BUCKET, Key=layout.REVOCATION_LIST, Body=old.body)
    stack.revocation.run()

    assert register(stack) == before
    assert stack.heard() == []


@pytest.mark.parametrize("member", ["revoked", "notices"])
def test_what_somebody_took_off_the_list_by_hand_is_on_it_again(
    stack: Stack, ca: pki.CertifiedKey, member: str
) -> None:
    stack.revoke("lost", pki.to_pem(builders.leaf(ca).certificate))
    before = register(stack)
    document = json.loads(before.render())
    if member == "notices":
        document["sources"]["revoked/lost"]["notices"] = []
    document["revoked"] = []
    stack.clients.s3.put_object(Bucket=BUCKET, Key=layout.REVOCATION_LIST, Body=json.dumps(document).encode())
    stack.pass_time(days=1)
    stack.revocation.run()

    assert register(stack) == before


def test_a_run_that_another_overtook_begins_afresh(stack: Stack, ca: pki.CertifiedKey) -> None:
    mine, theirs = builders.leaf(ca).certificate, builders.leaf(ca).certificate
    stack.clients.s3.put_object(Bucket=BUCKET, Key="revoked/mine", Body=pki.to_pem(mine).encode())
    run = stack.revocation
    read = run._bucket.read
    overtaken = iter([True])

    def overtake(key: str, version_id: str | None = None) -> Any:
        answer = read(key, version_id)
        if key == layout.REVOCATION_LIST and next(overtaken, False):
            stack.revoke("theirs", pki.to_pem(theirs))
        return answer

    run._bucket.read = overtake  # type: ignore[method-assign]
    run.run()

    assert set(register(stack).revoked) == {identity(stack, mine), identity(stack, theirs)}


def test_a_run_that_has_fallen_behind_does_not_undo_the_crl_of_a_newer_one(stack: Stack, ca: pki.CertifiedKey) -> None:
    mine, theirs = builders.leaf(ca).certificate, builders.leaf(ca).certificate
    stack.clients.s3.put_object(Bucket=BUCKET, Key="revoked/mine", Body=pki.to_pem(mine).encode())
    run = stack.revocation
    read = run._bucket.read
    overtaken = iter([True])

    def overtake(key: str, version_id: str | None = None) -> Any:
        # The list is written by now; the other run ends before this one comes to the CRL.
        if key.startswith("crl/") and next(overtaken, False):
            stack.revoke("theirs", pki.to_pem(theirs))
        return read(key, version_id)

    run._bucket.read = overtake  # type: ignore[method-assign]
    result = run.run()

    listed = {it.serial_number for it in published_crl(stack, ca.certificate)}
    assert listed == {mine.serial_number, theirs.serial_number}
    assert identity(stack, mine) in {it.certificate for it in result.added}
    assert not result.problems


def test_two_runs_that_make_the_same_crl_at_once_end_with_the_newer_list_on_it(
    stack: Stack, ca: pki.CertifiedKey
) -> None:
    mine, theirs = builders.leaf(ca).certificate, builders.leaf(ca).certificate
    stack.clients.s3.put_object(Bucket=BUCKET, Key="revoked/mine", Body=pki.to_pem(mine).encode())
    run = stack.revocation
    newest = run._bucket.newest
    overtaken = iter([True])

    def overtake(key: str) -> Any:
        found = newest(key)
        if next(overtaken, False):  # between the look at the list and the write
            stack.revoke("theirs", pki.to_pem(theirs))
        return found

    run._bucket.newest = overtake  # type: ignore[method-assign]
    result = run.run()

    listed = {it.serial_number for it in published_crl(stack, ca.certificate)}
    assert listed == {mine.serial_number, theirs.serial_number}
    assert not result.problems


def test_the_list_comes_first_so_that_a_killed_run_has_kept_the_revoked_out(stack: Stack) -> None:
    token = stack.rotate()
    stack.revocation.run()

    def killed(**_: Any) -> None:
        raise KeyboardInterrupt

    stack.secrets.before["describe_secret"] = [killed]
    with pytest.raises(KeyboardInterrupt):
        stack.revoke("lost", pki.to_pem(stack.certificate(token)))
    assert register(stack).revoked

    assert stack.revocation.run().rotated == (CLIENT,)


def test_what_has_not_changed_is_not_read_again(stack: Stack, ca: pki.CertifiedKey) -> None:
    for number in range(3):
        stack.revoke(str(number), pki.to_pem(builders.leaf(ca).certificate))
    read: list[str] = []
    run = stack.revocation
    original = run._bucket.read

    def counting(key: str, version_id: str | None = None) -> Any:
        read.append(key)
        return original(key, version_id)

    run._bucket.read = counting  # type: ignore[method-assign]
    run.run()

    assert not [key for key in read if key.startswith(layout.REVOKED)]
