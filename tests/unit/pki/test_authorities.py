"""Who has signed a certificate is told by keys, and costs few verifications whatever CAs there are."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509

from mtls_rotation.pki import authorities, signatures
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.authorities import Authorities
from mtls_rotation.pki.presented import Presented
from tests.kit import builders

CA = builders.root("Their CA")
KEY = pki.public_key_fingerprint(CA.certificate.public_key())
NAMESAKES = [builders.named(CA.certificate.subject).certificate for _ in range(30)]


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The keys that were tried."""
    tried: list[object] = []

    def has_signed(key: Any, certificate: Any) -> bool:
        tried.append(key)
        return signatures.has_signed(key, certificate)

    monkeypatch.setattr(authorities, "has_signed", has_signed)
    return tried


def test_of_cas_of_one_name_the_one_that_is_meant_is_tried_first(verified: list[object]) -> None:
    known = Authorities([*NAMESAKES, CA.certificate])

    assert known.signer(builders.leaf(CA).certificate) == KEY
    assert len(verified) == 1


def test_cas_that_key_identifiers_speak_against_cost_a_certificate_of_nobodys_few_verifications(
    verified: list[object],
) -> None:
    stranger = builders.leaf(builders.root("Their CA")).certificate
    known = Authorities(NAMESAKES)
    theirs = builders.leaf(CA).certificate

    assert known.signer(theirs) == known.signer(stranger) == ""
    assert len(verified) <= 16


def test_a_ca_is_found_though_the_certificate_names_another_key_or_none() -> None:
    known = Authorities([*NAMESAKES[:3], CA.certificate])
    silent, _ = builders.Foreign(authority=False, issuer=CA.certificate, signer=CA.key).make()
    builder = (
        x509.CertificateBuilder()
        .subject_name(silent.subject)
        .issuer_name(CA.certificate.subject)
        .public_key(silent.public_key())
        .serial_number(7)
        .not_valid_before(silent.not_valid_before_utc)
        .not_valid_after(silent.not_valid_after_utc)
        .add_extension(x509.AuthorityKeyIdentifier(b"another", None, None), critical=False)
    )
    contradicting = builder.sign(CA.key, pki.signature_digest(CA.key))

    assert known.signer(silent) == known.signer(contradicting) == KEY


def test_key_identifiers_are_read_as_the_library_reads_them() -> None:
    leaf = builders.leaf(CA).certificate
    presented = Presented.of(leaf)

    named = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    own = leaf.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert (presented.issuers_key_identifier, presented.key_identifier) == (named, own)
    assert Presented.of(builders.foreign(authority=False)).issuers_key_identifier is None
