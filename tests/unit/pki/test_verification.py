"""Each reason for which a server would refuse a client certificate, told without asking the server."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import profile
from mtls_rotation.pki.request import CertificateRequest, KeyAlgorithm
from mtls_rotation.pki.servers import MAX_CHAIN_LENGTH, Servers
from mtls_rotation.pki.verification import refusals
from tests.kit import builders
from tests.kit.builders import NOW


def test_a_good_certificate_is_not_refused(ca: pki.CertifiedKey) -> None:
    leaf = builders.leaf(ca)
    assert refusals(leaf.certificate, leaf.key, (), [ca.certificate], NOW) == []


def test_a_certificate_with_every_kind_of_name_is_not_refused(ca: pki.CertifiedKey) -> None:
    leaf = builders.leaf(ca, dns_names=("a.example",), uris=("spiffe://a/b",), emails=("a@b.example",))
    assert refusals(leaf.certificate, leaf.key, (), [ca.certificate], NOW) == []


def test_the_key_of_another_certificate_is_refused(ca: pki.CertifiedKey) -> None:
    reasons = refusals(builders.leaf(ca).certificate, builders.leaf(ca).key, (), [ca.certificate], NOW)
    assert reasons == ["the private key is not the one of the certificate CN=billing"]


@pytest.mark.parametrize(
    ("moment", "reason"),
    [
        (NOW + timedelta(days=30, seconds=1), "it expired on"),
        (NOW - timedelta(minutes=5, seconds=1), "it is not valid before"),
    ],
)
def test_a_certificate_out_of_date_is_refused(ca: pki.CertifiedKey, moment: object, reason: str) -> None:
    leaf = builders.leaf(ca)
    (found,) = refusals(leaf.certificate, leaf.key, (), [ca.certificate], moment)  # type: ignore[arg-type]
    assert reason in found


def test_every_reason_is_told_at_once(ca: pki.CertifiedKey) -> None:
    leaf = builders.leaf(ca)
    reasons = refusals(leaf.certificate, builders.leaf(ca).key, (), [ca.certificate], NOW + timedelta(days=31))
    assert len(reasons) == 2


def test_a_certificate_of_an_unknown_ca_is_refused(ca: pki.CertifiedKey) -> None:
    leaf = builders.leaf(ca)
    (reason,) = refusals(leaf.certificate, leaf.key, (), [builders.root("Other").certificate], NOW)
    assert "no chain to a trusted anchor" in reason


def test_where_nothing_is_trusted_every_certificate_is_refused(ca: pki.CertifiedKey) -> None:
    (reason,) = refusals(builders.leaf(ca).certificate, None, (), [], NOW)
    assert reason == "no chain to a trusted anchor: there is none"


def test_one_judge_judges_many_certificates_each_by_itself(ca: pki.CertifiedKey) -> None:
    expired = builders.leaf(ca, validity_hours=1, validity_days=None)
    unknown, trusted = builders.leaf(builders.root("Other")), builders.leaf(ca)
    key = profile.generate_key(KeyAlgorithm.EC_P256)
    pinned = profile.issue_self_signed_leaf(CertificateRequest(common_name="pinned"), key, NOW)
    servers = Servers((it for it in (ca.certificate, pinned)), NOW + timedelta(hours=2))

    for _ in range(2):
        assert servers.refusals(trusted.certificate) == []
        assert len(servers.refusals(unknown.certificate)) == 1
        assert len(servers.refusals(expired.certificate)) == 1
        assert servers.refusals(pinned, iter(())) == []


def test_a_ca_of_the_same_name_with_another_key_does_not_vouch(ca: pki.CertifiedKey) -> None:
    leaf = builders.leaf(ca)
    (reason,) = refusals(leaf.certificate, leaf.key, (), [builders.root("Test CA").certificate], NOW)
    assert "no chain to a trusted anchor" in reason


def test_an_expired_anchor_does_not_vouch() -> None:
    ca = builders.root(days=10)
    certificate, key = builders.Foreign(
        authority=False, usages=(ExtendedKeyUsageOID.CLIENT_AUTH,), signer=ca.key, issuer=ca.certificate
    ).make()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert refusals(certificate, key, (), [ca.certificate], NOW) == []
    (reason,) = refusals(certificate, key, (), [ca.certificate], NOW + timedelta(days=20))
    assert "no chain to a trusted anchor" in reason


def test_a_certificate_for_servers_only_is_refused(ca: pki.CertifiedKey) -> None:
    certificate, key = builders.Foreign(
        authority=False, usages=(ExtendedKeyUsageOID.SERVER_AUTH,), signer=ca.key, issuer=ca.certificate
    ).make()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    (reason,) = refusals(certificate, key, (), [ca.certificate], NOW)
    assert "extended key usage" in reason


def chain_of(intermediates: int) -> tuple[pki.CertifiedKey, pki.CertifiedKey]:
    """A leaf under so many intermediates, and its root."""
    certificate, key = builders.Foreign(common_name="Root").make()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    top = above = pki.CertifiedKey(key, certificate, (), certificate)
    for number in range(intermediates):
        certificate, key = builders.Foreign(
            common_name=f"Intermediate {number}", signer=above.key, issuer=above.certificate
        ).make()
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        above = pki.CertifiedKey(key, certificate, (certificate, *above.chain), top.certificate)
    leaf = builders.leaf(above)
    return pki.CertifiedKey(leaf.key, leaf.certificate, above.chain, top.certificate), top


@pytest.mark.parametrize("intermediates", range(MAX_CHAIN_LENGTH))
def test_a_chain_as_long_as_api_gateway_takes_is_not_refused(intermediates: int) -> None:
    leaf, top = chain_of(intermediates)
    assert refusals(leaf.certificate, leaf.key, leaf.chain, [top.certificate], NOW) == []


def test_a_longer_chain_is_refused() -> None:
    leaf, top = chain_of(MAX_CHAIN_LENGTH)
    (reason,) = refusals(leaf.certificate, leaf.key, leaf.chain, [top.certificate], NOW)
    assert reason == "no chain to a trusted anchor: more than 4 CAs above it, where API Gateway takes 4 at most"


def test_a_chain_with_a_link_missing_is_refused() -> None:
    leaf, top = chain_of(2)
    assert refusals(leaf.certificate, leaf.key, leaf.chain[:1], [top.certificate], NOW)
