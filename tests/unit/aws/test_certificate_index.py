"""What the bucket's keys say of certificates, read in one place."""

from __future__ import annotations

from dataclasses import replace

from mtls_rotation.aws.certificate_index import CertificateIndex
from mtls_rotation.contract.layout import OUTSIDE, IssuedKey, OutsideKey
from mtls_rotation.pki import certificates as pki
from tests.kit import builders
from tests.kit.stack import Stack


def test_a_certificate_is_found_by_its_version_and_by_its_serial_number(empty_stack: Stack) -> None:
    leaf = builders.leaf(builders.root()).certificate
    ours = IssuedKey("a" * 64, "app/client", "1", pki.serial(leaf), not_after=leaf.not_valid_after_utc)
    other = OutsideKey("app/partner", "2", "5e1")
    ca = IssuedKey("a" * 64, "app/ca", "3", "5e1", authority=True)
    for key in (ours, other, ca, f"{OUTSIDE}README.txt"):
        empty_stack.bucket.put_once(str(key), pki.to_pem(leaf))
    index = CertificateIndex.read(empty_stack.bucket)
    (found,) = index.of_version("app/client", "1")

    assert (found.key, found.anchor, found.not_after) == (str(ours), ours.anchor, leaf.not_valid_after_utc)
    assert index.certificate(found) == leaf
    assert [it.secret for it in index.with_serial_number("5e1")] == ["app/partner"], "a CA is held by no client"
    assert [it.secret for it in index.authorities] == ["app/ca"]
    assert {it.secret for it in index.issued} == {"app/client", "app/ca"}
    assert [it.secret for it in index.outside] == ["app/partner"]
    assert index.of_version("app/client", None) == ()
    assert index.certificate(replace(found, key="issued/gone.pem")) is None


def test_a_ca_that_is_filed_twice_is_one_ca(empty_stack: Stack) -> None:
    ca = builders.root().certificate
    for end in (None, ca.not_valid_after_utc):
        key = IssuedKey("a" * 64, "app/ca", "3", "5e1", authority=True, not_after=end)
        empty_stack.bucket.put_once(str(key), pki.to_pem(ca))

    assert len(CertificateIndex.read(empty_stack.bucket).authorities) == 1
