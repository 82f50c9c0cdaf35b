"""A certificate that is revoked before it is in use never comes into use, nor does its key, whoever has signed it."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from mtls_rotation.contract import layout
from mtls_rotation.errors import RejectedCertificateError, RevocationUnknownError, WaitingForCertificateError
from mtls_rotation.pki import certificates as pki
from mtls_rotation.rotation.request import Step
from tests.kit import builders
from tests.kit.stack import BUCKET, CLIENT, Stack
from tests.unit.issuers.test_issuers import answer, csr_of, upload, wait


@pytest.fixture(params=["known elsewhere", "trusted by the gateway"])
def external(request: pytest.FixtureRequest, empty_stack: Stack, partner: pki.CertifiedKey) -> Stack:
    issuer = {"type": "external", "ca_certificates": pki.to_pem(partner.certificate)}
    trusted: dict[str, Any] = {"trusted_by_gateway": True} if request.param == "trusted by the gateway" else {}
    empty_stack.add_secret(CLIENT, builders.client_definition(issuer=issuer, **trusted))
    empty_stack.revocation.run()
    return empty_stack


@pytest.fixture(scope="module")
def partner() -> pki.CertifiedKey:
    certificate, key = builders.Foreign(common_name="Partner CA").make()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return pki.CertifiedKey(key, certificate, (), certificate)


def answered(stack: Stack, partner: pki.CertifiedKey) -> tuple[str, x509.CertificateSigningRequest, x509.Certificate]:
    """A rotation that may take its certificate now: its token, what was asked for, and what was signed."""
    token = stack.begin()
    wait(stack, token)
    csr = csr_of(stack)
    leaf = answer(partner, csr)
    upload(stack, leaf, partner.certificate)
    return token, csr, leaf


def require_another_key(stack: Stack, lost: x509.Certificate, partner: pki.CertifiedKey) -> None:
    """The rotation that comes next asks for a certificate for another key, and ends with it."""
    token = stack.at("AWSPENDING") or stack.begin()
    wait(stack, token)
    csr = csr_of(stack)
    assert csr.public_key() != lost.public_key()
    assert not [it for it in stack.objects() if pki.public_key_fingerprint(lost.public_key()) in it]
    upload(stack, answer(partner, csr), partner.certificate)
    for step in Step:
        stack.step(step, token)
    current = stack.certificate(stack.at("AWSCURRENT"))
    assert current.public_key() == csr.public_key()


def test_one_that_is_pending_is_given_up_with_its_key_and_its_request(
    external: Stack, partner: pki.CertifiedKey
) -> None:
    token, _, leaf = answered(external, partner)
    external.step(Step.CREATE, token)
    assert external.certificate(token) == leaf
    external.revoke("lost.pem", pki.to_pem(leaf))

    assert external.at("AWSPENDING") != token
    require_another_key(external, leaf, partner)


def test_one_that_was_accepted_and_not_taken_yet_is_not_taken(external: Stack, partner: pki.CertifiedKey) -> None:
    _, _, leaf = answered(external, partner)
    external.revoke("lost.pem", pki.to_pem(leaf))

    require_another_key(external, leaf, partner)


def test_another_certificate_for_the_key_of_one_that_is_revoked_is_not_taken_either(
    external: Stack, partner: pki.CertifiedKey
) -> None:
    token, csr, leaf = answered(external, partner)
    external.step(Step.CREATE, token)
    external.revoke("lost.pem", pki.to_pem(leaf))
    second = answer(partner, csr)
    assert second != leaf
    upload(external, second, partner.certificate)

    require_another_key(external, leaf, partner)


def test_one_that_is_revoked_by_its_name_is_given_up_with_its_key(external: Stack, partner: pki.CertifiedKey) -> None:
    token, csr, leaf = answered(external, partner)
    external.step(Step.CREATE, token)
    named = f'{{"issuer": "CN=Partner CA", "serial_number": "{pki.serial(leaf)}"}}'
    assert not external.revoke("lost", named).refused
    upload(external, answer(partner, csr), partner.certificate)

    require_another_key(external, leaf, partner)


def test_a_step_that_comes_before_the_revocation_function_gives_it_up_itself(
    external: Stack, partner: pki.CertifiedKey
) -> None:
    token, _, leaf = answered(external, partner)
    external.step(Step.CREATE, token)
    external.revoke("lost.pem", pki.to_pem(leaf))
    token = external.at("AWSPENDING") or ""
    other = external.secrets.record(CLIENT)
    # As if the function had been killed when the list was written.
    for version in other.versions.values():
        version["version_stages"] = [it for it in version["version_stages"] if it != "AWSPENDING"]
    held = next(key for key in other.versions if external.value(key).get("certificate") == pki.to_pem(leaf))
    other.versions[held]["version_stages"].append("AWSPENDING")
    with pytest.raises(RejectedCertificateError, match="is revoked"):
        external.step(Step.CREATE, held)

    assert external.at("AWSPENDING") is None
    require_another_key(external, leaf, partner)


def test_while_the_list_is_lost_its_last_version_tells_and_where_none_is_left_the_rotation_waits(
    external: Stack, partner: pki.CertifiedKey
) -> None:
    _, _, leaf = answered(external, partner)
    external.revoke("lost.pem", pki.to_pem(leaf))
    token = external.begin()
    for _ in range(2):
        external.clients.s3.put_object(Bucket=BUCKET, Key=layout.REVOCATION_LIST, Body=b"nonsense")
    external.bucket.delete(layout.REVOCATION_LIST)
    with pytest.raises(WaitingForCertificateError):
        external.step(Step.CREATE, token)
    assert csr_of(external).public_key() != leaf.public_key()

    for version in list(external.bucket.versions(layout.REVOCATION_LIST))[2:]:
        external.clients.s3.delete_object(Bucket=BUCKET, Key=layout.REVOCATION_LIST, VersionId=version)
    with pytest.raises(RevocationUnknownError):
        external.step(Step.CREATE, token)
