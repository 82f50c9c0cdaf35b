"""What a certificate says, by its extensions and by what the openssl command line makes of it."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import profile
from mtls_rotation.pki.request import KeyAlgorithm
from tests.kit import builders

NAMES: dict[str, Any] = {
    "organization": "Example Ltd",
    "dns_names": ("billing.example.com",),
    "uris": ("spiffe://example.com/billing",),
    "emails": ("team@example.com",),
}


@pytest.fixture(scope="module", params=list(KeyAlgorithm))
def pair(request: pytest.FixtureRequest) -> tuple[pki.CertifiedKey, pki.CertifiedKey]:
    """A CA and a leaf, both with keys of one algorithm."""
    authority = builders.root(algorithm=request.param)
    return authority, builders.leaf(authority, key_algorithm=request.param, **NAMES)


def test_openssl_accepts_the_leaf_for_client_authentication_and_for_nothing_else(
    pair: tuple[pki.CertifiedKey, pki.CertifiedKey], tmp_path: Path
) -> None:
    authority, leaf = pair
    (tmp_path / "ca.pem").write_text(pki.to_pem(authority.certificate))
    (tmp_path / "leaf.pem").write_text(pki.to_pem(leaf.certificate))

    def verify(purpose: str) -> subprocess.CompletedProcess[str]:
        options = ["-x509_strict", "-check_ss_sig", "-purpose", purpose, "-CAfile", "ca.pem", "leaf.pem"]
        return subprocess.run(
            ["openssl", "verify", *options], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    accepted = verify("sslclient")
    assert (accepted.returncode, accepted.stdout) == (0, "leaf.pem: OK\n"), accepted.stderr
    assert verify("sslserver").returncode != 0


def test_the_leaf_follows_the_profile(pair: tuple[pki.CertifiedKey, pki.CertifiedKey]) -> None:
    authority, leaf = (issued.certificate for issued in pair)
    extensions = {type(entry.value): entry for entry in leaf.extensions}

    assert leaf.version is x509.Version.v3
    assert leaf.issuer == authority.subject
    constraints = extensions[x509.BasicConstraints]
    assert (constraints.critical, constraints.value) == (True, x509.BasicConstraints(ca=False, path_length=None))
    usage = extensions[x509.KeyUsage]
    assert usage.critical
    assert isinstance(usage.value, x509.KeyUsage)
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert extensions[x509.ExtendedKeyUsage].value == x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    own = extensions[x509.SubjectKeyIdentifier].value
    assert own == x509.SubjectKeyIdentifier.from_public_key(leaf.public_key())
    above = extensions[x509.AuthorityKeyIdentifier].value
    assert isinstance(above, x509.AuthorityKeyIdentifier)
    issuer_identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert above.key_identifier == issuer_identifier.digest


def test_the_ca_follows_the_profile(pair: tuple[pki.CertifiedKey, pki.CertifiedKey]) -> None:
    authority = pair[0].certificate
    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = authority.extensions.get_extension_for_class(x509.KeyUsage)

    assert authority.version is x509.Version.v3
    assert (constraints.critical, constraints.value) == (True, x509.BasicConstraints(ca=True, path_length=0))
    assert (usage.critical, usage.value.key_cert_sign, usage.value.crl_sign) == (True, True, True)
    assert not usage.value.digital_signature
    own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    above = authority.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert own.digest == above.key_identifier
    authority.verify_directly_issued_by(authority)


def test_the_key_is_the_one_asked_for(pair: tuple[pki.CertifiedKey, pki.CertifiedKey]) -> None:
    match pair[1].certificate.public_key():
        case ec.EllipticCurvePublicKey() as key:
            made = f"EC_P{key.curve.key_size}"
        case rsa.RSAPublicKey() as key:
            assert key.public_numbers().e == 65537
            made = f"RSA_{key.key_size}"
        case other:
            pytest.fail(f"a key of {type(other)}")
    common_name = pair[0].certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    assert made in set(KeyAlgorithm)
    assert common_name == "Test CA"
    assert type(pair[0].key) is type(pair[1].key)


def test_the_signature_is_as_strong_as_the_key(pair: tuple[pki.CertifiedKey, pki.CertifiedKey]) -> None:
    digest = pair[1].certificate.signature_hash_algorithm
    is_p384 = isinstance(pair[0].key, ec.EllipticCurvePrivateKey) and pair[0].key.curve.key_size == 384

    assert isinstance(digest, hashes.SHA384 if is_p384 else hashes.SHA256)


def test_the_names_are_the_ones_asked_for(ca: pki.CertifiedKey) -> None:
    certificate = builders.leaf(ca, **NAMES).certificate
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert certificate.subject.rfc4514_string() == "CN=billing,O=Example Ltd"
    assert names.get_values_for_type(x509.DNSName) == ["billing.example.com"]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://example.com/billing"]
    assert names.get_values_for_type(x509.RFC822Name) == ["team@example.com"]


def test_without_names_there_is_no_empty_extension_of_names(ca: pki.CertifiedKey) -> None:
    with pytest.raises(x509.ExtensionNotFound):
        builders.leaf(ca).certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_it_is_valid_from_a_little_earlier_until_the_days_asked_for(ca: pki.CertifiedKey) -> None:
    now = builders.NOW.replace(microsecond=987_654)
    certificate = builders.leaf(ca, now=now, validity_days=7).certificate

    assert certificate.not_valid_before_utc == builders.NOW - timedelta(minutes=5)
    assert certificate.not_valid_after_utc == builders.NOW + timedelta(days=7)


def test_serials_are_positive_and_of_128_random_bits(ca: pki.CertifiedKey) -> None:
    serials = {builders.leaf(ca).certificate.serial_number for _ in range(100)}

    assert len(serials) == 100
    assert all(0 < serial <= 2**128 for serial in serials)
    assert max(serial.bit_length() for serial in serials) == 128


def test_a_leaf_never_outlives_its_issuer_and_is_never_older() -> None:
    ca = builders.root(days=30)
    with pytest.raises(ValueError, match="outlive its issuer"):
        builders.leaf(ca, now=builders.NOW + timedelta(seconds=1), validity_days=30)
    old = ca.certificate.not_valid_before_utc
    assert builders.leaf(ca, now=old + timedelta(minutes=1)).certificate.not_valid_before_utc == old


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.EC_P256, KeyAlgorithm.RSA_2048])
def test_a_key_survives_being_written_and_read(algorithm: KeyAlgorithm) -> None:
    key = profile.generate_key(algorithm)
    text = pki.key_to_pem(key)

    assert text.startswith("-----BEGIN PRIVATE KEY-----")
    assert pki.key_from_pem(text).private_numbers() == key.private_numbers()


@pytest.mark.parametrize("text", ["", "rubbish", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="a text that is no unencrypted PEM private key"):
        pki.key_from_pem(text)
