"""A CA secret may hold a CA that has others above it: what it signs comes with the whole chain, up to the root."""

from __future__ import annotations

import pytest
from cryptography import x509

from mtls_rotation.errors import UnusableIssuerError
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import profile
from mtls_rotation.pki.request import CertificateRequest
from mtls_rotation.rotation.request import Step
from tests.kit import builders
from tests.kit.stack import CA, CLIENT, Stack


def root_of(path_length: int) -> pki.CertifiedKey:
    request = CertificateRequest(common_name="Root", validity_days=400)
    key = profile.generate_key(request.key_algorithm)
    certificate = profile.issue_root(request, key, builders.NOW, path_length=path_length)
    return pki.CertifiedKey(key, certificate, (), certificate)


def below(root: pki.CertifiedKey) -> pki.CertifiedKey:
    certificate, key = builders.Foreign(
        common_name="Issuing CA", signer=root.key, issuer=root.certificate, not_before=builders.NOW
    ).make()
    return pki.CertifiedKey(key, certificate, (), root.certificate)  # type: ignore[arg-type]


def test_a_certificate_chains_through_the_ca_that_signed_it_to_the_root(empty_stack: Stack) -> None:
    root = root_of(path_length=1)
    issuing = below(root)
    empty_stack.add_secret(CA, builders.issued_value(builders.ca_definition(), issuing))
    empty_stack.add_secret(CLIENT, builders.client_definition())
    token = empty_stack.rotate()

    value = empty_stack.value(token)
    assert pki.from_pem(value["certificate_chain"]) == (issuing.certificate,)
    assert pki.from_pem(value["anchor"]) == (root.certificate,)
    # A gateway is to trust both: API Gateway wants the whole chain above the certificate.
    filed = {it for it in empty_stack.objects() if it.startswith("anchors/managed/")}
    assert filed == {f"anchors/managed/{pki.fingerprint(it)}.pem" for it in (issuing.certificate, root.certificate)}


def test_what_stands_above_a_ca_must_be_readable_before_anything_is_signed(empty_stack: Stack) -> None:
    value = builders.changed(
        builders.issued_value(builders.ca_definition(), below(root_of(1))),
        certificate_chain="-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n",
    )
    empty_stack.add_secret(CA, value)
    empty_stack.add_secret(CLIENT, builders.client_definition())
    token = empty_stack.begin()

    with pytest.raises(UnusableIssuerError, match="an anchor or a certificate_chain that cannot be read"):
        empty_stack.step(Step.CREATE, token)
    assert empty_stack.value(token) == {}


@pytest.mark.parametrize("path_length", [0, 1])
def test_a_root_says_how_many_cas_may_stand_below_it(path_length: int) -> None:
    constraints = root_of(path_length).certificate.extensions.get_extension_for_class(x509.BasicConstraints)

    assert constraints.critical
    assert constraints.value.path_length == path_length
