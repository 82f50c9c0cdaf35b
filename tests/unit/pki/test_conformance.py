"""Linting and strict verification over every kind of certificate and algorithm; and that both can find something."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509

from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import profile
from mtls_rotation.pki.request import CertificateRequest, KeyAlgorithm
from tests.kit import builders
from tests.kit.conformance import Chain, lint, openssl_refusals

NAMES: dict[str, Any] = {
    "organization": "Müller & Söhne GmbH",
    "organizational_unit": "支払い",
    "locality": "Zürich",
    "state": "Zürich",
    "country": "CH",
    "dns_names": ("billing.example.com", "bücher.example"),
    "uris": ("spiffe://example.com/billing", "https://bücher.example/straße?q=ü"),
    "emails": ("team@bücher.example",),
    "ip_addresses": ("192.0.2.1", "2001:db8::1"),
    "extended_key_usages": ("serverAuth", "1.3.6.1.5.5.7.3.17"),
}


@pytest.fixture(scope="module", params=list(KeyAlgorithm))
def key(request: pytest.FixtureRequest) -> pki.SigningKey:
    return profile.generate_key(request.param)


@pytest.mark.parametrize("names", [{}, NAMES], ids=["plain", "every field"])
def test_every_kind_of_certificate_lints_clean_and_verifies_strictly(
    key: pki.SigningKey, names: dict[str, Any]
) -> None:
    authority_names = {name: names[name] for name in ("organization", "country") if names}
    authority = CertificateRequest(common_name="Test CA", validity_days=365, **authority_names)
    root = profile.issue_root(authority, key, builders.NOW)
    request = CertificateRequest(common_name="Łódź" if names else "billing", validity_hours=12, **names)
    leaf = profile.issue_leaf(request, key.public_key(), root, key, builders.NOW)
    pinned = profile.issue_self_signed_leaf(request, key, builders.NOW)

    assert [lint(it) for it in (root, leaf, pinned)] == [[], [], []]
    assert openssl_refusals([Chain(root, (), root), Chain(leaf, (), root), Chain(pinned, (), pinned)]) == []


def test_the_names_are_encoded_as_the_standards_have_them(ca: pki.CertifiedKey) -> None:
    leaf = builders.leaf(ca, **NAMES).certificate
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert names.get_values_for_type(x509.DNSName) == ["billing.example.com", "xn--bcher-kva.example"]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        "spiffe://example.com/billing",
        "https://xn--bcher-kva.example/stra%C3%9Fe?q=%C3%BC",
    ]
    assert names.get_values_for_type(x509.RFC822Name) == ["team@xn--bcher-kva.example"]
    assert [str(it) for it in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.1", "2001:db8::1"]
    types = {it.oid._name: it._type.name for it in leaf.subject}
    assert types["countryName"] == "PrintableString"
    assert {kind for name, kind in types.items() if name != "countryName"} == {"UTF8String"}
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [it.dotted_string for it in usages] == ["1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.17"]


def test_the_linter_and_openssl_find_what_is_wrong(ca: pki.CertifiedKey) -> None:
    bare = builders.foreign(authority=False, constraints=False, signer=ca.key)
    assert lint(bare)
    assert openssl_refusals([Chain(bare, (), ca.certificate)])
    stranger = builders.leaf(builders.root("Another CA"))
    assert openssl_refusals([Chain(stranger.certificate, (), ca.certificate)])
