"""Which CA may sign for an external issuer: who uploads an answer does not choose it where the operator has."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from mtls_rotation.errors import InvalidSecretError
from mtls_rotation.pki import certificates as pki
from mtls_rotation.rotation.request import Step
from tests.kit import builders
from tests.kit.stack import CLIENT, Stack
from tests.unit.issuers.test_issuers import answer, csr_of, upload, wait


def authority(name: str, issuer: pki.CertifiedKey | None = None, **more: Any) -> pki.CertifiedKey:
    """A CA, self-signed or signed by another."""
    above, signer = (issuer.certificate, cast("builders.AnyKey", issuer.key)) if issuer else (None, None)
    certificate, key = builders.Foreign(common_name=name, issuer=above, signer=signer, **more).make()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return pki.CertifiedKey(key, certificate, (), certificate)


ROOT = authority("Partner root")
ISSUING = authority("Partner CA", ROOT)
STRANGER = authority("Partner root")  # the same name


def pinned(stack: Stack, *authorities: x509.Certificate, trusted: bool = True) -> str:
    """A client secret whose issuer is pinned to these, with its request out; the token."""
    issuer = {"type": "external", "ca_certificates": pki.to_pem(*authorities)}
    stack.add_secret(CLIENT, builders.client_definition(issuer=issuer, trusted_by_gateway=trusted))
    token = stack.begin()
    wait(stack, token)
    return token


@pytest.mark.parametrize("trusted", [True, False], ids=["the gateway's", "known elsewhere"])
def test_an_answer_by_a_pinned_ca_is_taken_with_or_without_it(empty_stack: Stack, trusted: bool) -> None:
    token = pinned(empty_stack, ROOT.certificate, trusted=trusted)

    assert upload(empty_stack, answer(ISSUING, csr_of(empty_stack)), ISSUING.certificate) == ""
    for step in Step:
        empty_stack.step(step, token)
    value = empty_stack.value(empty_stack.at("AWSCURRENT"))
    assert (value["certificate_chain"], value["anchor"]) == (
        pki.to_pem(ISSUING.certificate),
        pki.to_pem(ROOT.certificate),
    )


@pytest.mark.parametrize("trusted", [True, False], ids=["the gateway's", "known elsewhere"])
def test_who_uploads_an_answer_chooses_no_ca_where_one_is_pinned(empty_stack: Stack, trusted: bool) -> None:
    pinned(empty_stack, ROOT.certificate, trusted=trusted)
    refusal = upload(empty_stack, answer(STRANGER, csr_of(empty_stack)), STRANGER.certificate)

    assert "chains to none of issuer.ca_certificates" in refusal
    assert not [key for key in empty_stack.objects() if key.startswith(("accepted/", "anchors/"))]


def test_what_was_accepted_past_the_intake_is_looked_at_again(empty_stack: Stack) -> None:
    """Whoever may write to `accepted/` gets no further than who may write to `signed/`."""
    token = pinned(empty_stack, ROOT.certificate)
    leaf = answer(STRANGER, csr_of(empty_stack))
    key = f"accepted/{pki.public_key_fingerprint(leaf.public_key())}.pem"
    body = pki.to_pem(leaf, STRANGER.certificate).encode()
    empty_stack.clients.s3.put_object(Bucket=empty_stack.bucket.name, Key=key, Body=body)
    with pytest.raises(Exception, match=r"chains to none of issuer\.ca_certificates"):
        empty_stack.step(Step.CREATE, token)


def test_no_ca_gets_above_a_pinned_one(empty_stack: Stack) -> None:
    """A certificate for the pinned CA's name and key that a stranger has signed would bring the stranger's CA along."""
    token = pinned(empty_stack, ISSUING.certificate, ROOT.certificate)
    crossed, _ = builders.Foreign(
        subject=ISSUING.certificate.subject,
        key=cast("builders.AnyKey", ISSUING.key),
        issuer=STRANGER.certificate,
        signer=cast("builders.AnyKey", STRANGER.key),
    ).make()
    leaf = answer(ISSUING, csr_of(empty_stack))

    assert upload(empty_stack, leaf, crossed, STRANGER.certificate) == ""
    empty_stack.step(Step.CREATE, token)
    anchors = {key for key in empty_stack.objects() if key.startswith("anchors/managed/")}
    assert anchors == {f"anchors/managed/{pki.fingerprint(it.certificate)}.pem" for it in (ISSUING, ROOT)}


def test_a_former_edition_of_the_pinned_root_does_no_harm(empty_stack: Stack) -> None:
    """A root that was renewed: the answer brings the old certificate of the same key along."""
    former = authority("Partner root", key=ROOT.key, not_after=builders.NOW + timedelta(days=90))
    token = pinned(empty_stack, ROOT.certificate)

    assert upload(empty_stack, answer(ISSUING, csr_of(empty_stack)), ISSUING.certificate, former.certificate) == ""
    empty_stack.step(Step.CREATE, token)
    assert empty_stack.value(token)["anchor"] == pki.to_pem(ROOT.certificate)


@pytest.mark.parametrize("days", [9000, 30], ids=["lasts longer", "ends sooner"])
@pytest.mark.parametrize("whole", [True, False], ids=["all pinned", "the root pinned"])
def test_no_other_certificate_of_a_pinned_ca_stands_for_it(empty_stack: Stack, days: int, whole: bool) -> None:
    """Whoever has its key may have certified it anew, for longer, or without the bounds that the operator looked at."""
    pins = (ISSUING.certificate, ROOT.certificate) if whole else (ROOT.certificate,)
    token, end = pinned(empty_stack, *pins), builders.NOW + timedelta(days=days)
    other_root = authority("Partner root", key=ROOT.key, not_after=end).certificate
    other = authority("Partner CA", ROOT, key=ISSUING.key, not_after=end).certificate
    leaf = answer(ISSUING, csr_of(empty_stack))

    assert upload(empty_stack, leaf, other, other_root, ISSUING.certificate, ROOT.certificate) == ""
    empty_stack.step(Step.CREATE, token)
    filed = {key for key in empty_stack.objects() if key.startswith("anchors/managed/")}
    assert f"anchors/managed/{pki.fingerprint(other_root)}.pem" not in filed
    assert f"anchors/managed/{pki.fingerprint(ROOT.certificate)}.pem" in filed
    assert not whole or f"anchors/managed/{pki.fingerprint(other)}.pem" not in filed


def test_no_ca_below_a_pinned_one_becomes_an_anchor_by_signing_itself(empty_stack: Stack) -> None:
    """It would be trusted beyond what the pinned one bounds, and beyond its end."""
    token = pinned(empty_stack, ROOT.certificate)
    itself = authority("Partner CA", key=ISSUING.key, not_after=builders.NOW + timedelta(days=9000))
    leaf = answer(ISSUING, csr_of(empty_stack))

    assert upload(empty_stack, leaf, itself.certificate, ISSUING.certificate) == ""
    empty_stack.step(Step.CREATE, token)
    assert empty_stack.value(token)["anchor"] == pki.to_pem(ROOT.certificate)


def test_what_the_gateway_is_to_trust_is_pinned(empty_stack: Stack) -> None:
    empty_stack.add_secret(CLIENT, builders.client_definition(issuer={"type": "external"}, trusted_by_gateway=True))
    token = empty_stack.begin()
    with pytest.raises(InvalidSecretError, match=r"issuer\.ca_certificates"):
        empty_stack.step(Step.CREATE, token)

    assert not [key for key in empty_stack.objects() if key.startswith(("requested/", "anchors/"))]


def test_without_a_pin_an_answer_must_chain_to_a_ca_that_comes_with_it(empty_stack: Stack) -> None:
    empty_stack.add_secret(CLIENT, builders.client_definition(issuer={"type": "external"}))
    wait(empty_stack, empty_stack.begin())
    leaf = answer(ISSUING, csr_of(empty_stack))

    assert "is neither in the file nor in" in upload(empty_stack, leaf)
    assert upload(empty_stack, leaf, STRANGER.certificate) != "", "it has not signed it"
    assert upload(empty_stack, leaf, ISSUING.certificate, ROOT.certificate) == ""


def test_the_time_to_sort_an_answer_is_bounded(empty_stack: Stack) -> None:
    """A hundred certificates of one name, of which none has signed another."""
    pinned(empty_stack, ROOT.certificate)
    crowd = [authority("Partner root").certificate for _ in range(98)]

    assert upload(empty_stack, answer(STRANGER, csr_of(empty_stack)), *crowd) != ""
