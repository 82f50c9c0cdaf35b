"""An upload that is told of twice, and an intake that is killed: neither is taken for a stranger's certificate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from mtls_rotation.pki import certificates as pki
from mtls_rotation.rotation.request import Step
from tests.kit import builders
from tests.kit.fakes import KilledError
from tests.kit.stack import CLIENT, Stack
from tests.unit.issuers.test_issuers import answer, csr_of, upload, wait


@pytest.fixture(params=["known elsewhere", "trusted by the gateway"])
def external(request: pytest.FixtureRequest, empty_stack: Stack, partner: pki.CertifiedKey) -> Stack:
    issuer: dict[str, Any] = {"type": "external"}
    trusted: dict[str, Any] = {}
    if request.param == "trusted by the gateway":
        trusted, issuer = {"trusted_by_gateway": True}, issuer | {"ca_certificates": pki.to_pem(partner.certificate)}
    empty_stack.add_secret(CLIENT, builders.client_definition(issuer=issuer, **trusted))
    return empty_stack


@pytest.fixture(scope="module")
def partner() -> pki.CertifiedKey:
    certificate, key = builders.Foreign(common_name="Partner CA").make()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return pki.CertifiedKey(key, certificate, (), certificate)


def test_an_upload_that_is_told_of_again_when_it_is_in_use_is_not_rejected(
    external: Stack, partner: pki.CertifiedKey
) -> None:
    token = external.begin()
    wait(external, token)
    leaf = answer(partner, csr_of(external))
    assert upload(external, leaf, partner.certificate) == ""
    for step in Step:
        external.step(step, token)
    external.heard()

    assert upload(external, leaf, partner.certificate) == ""
    assert external.heard() == []
    assert len(external.secrets.rotations) == 1


def test_a_stranger_with_the_serial_number_of_one_that_is_in_use_is_rejected(
    external: Stack, partner: pki.CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = external.begin()
    wait(external, token)
    leaf = answer(partner, csr_of(external))
    upload(external, leaf, partner.certificate)
    for step in Step:
        external.step(step, token)
    with monkeypatch.context() as patch:
        patch.setattr(x509, "random_serial_number", lambda: leaf.serial_number)
        stranger = builders.foreign(common_name="stranger")

    assert stranger.serial_number == leaf.serial_number
    assert "match no request" in upload(external, stranger)
    assert "match no request" in upload(external, partner.certificate)


def test_an_intake_that_is_killed_when_the_rotation_goes_on_has_announced_what_it_took(
    external: Stack, partner: pki.CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = external.begin()
    wait(external, token)
    external.heard()
    rotate: Callable[..., Any] = external.versions.rotate

    def die(secret_id: str) -> None:
        rotate(secret_id)
        raise KilledError("rotate")

    leaf = answer(partner, csr_of(external))
    with monkeypatch.context() as patch:
        patch.setattr(external.versions, "rotate", die)
        with pytest.raises(KilledError):
            upload(external, leaf, partner.certificate)
    for step in Step:
        external.step(step, token)
    assert upload(external, leaf, partner.certificate) == ""

    told = [it["detail-type"] for it in external.heard()]
    assert told.count("Signed Certificate Accepted") == 1
    assert "Signed Certificate Rejected" not in told
