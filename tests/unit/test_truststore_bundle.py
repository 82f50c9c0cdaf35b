"""Bundles as partners write them, API Gateway's rules for each certificate, and the truststore's bytes."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mtls_rotation.pki.certificates import fingerprint, to_pem
from mtls_rotation.truststore import bundle
from mtls_rotation.truststore.rules import refusal
from tests import builders
from tests.builders import NOW

ONE, TWO, THREE = (builders.foreign(common_name=name) for name in ("One", "Two", "Three"))


def test_one_set_has_one_rendering_whatever_the_order_and_however_often() -> None:
    certificates = [ONE, TWO, THREE, TWO, ONE]
    rendered = bundle.render(certificates)
    random.Random(0).shuffle(certificates)  # noqa: S311 - not for cryptography

    assert bundle.render(certificates) == rendered
    order = [fingerprint(entry) for entry in bundle.parse(rendered) if isinstance(entry, x509.Certificate)]
    assert order == sorted({fingerprint(certificate) for certificate in (ONE, TWO, THREE)})


@pytest.mark.parametrize(
    "text",
    [
        to_pem(ONE, TWO).encode(),
        to_pem(ONE, TWO).replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + to_pem(ONE, TWO).encode(),
        b"subject=CN = One\nissuer=...\n" + to_pem(ONE).encode() + b"\n\n# our new CA\n\xff\xfe" + to_pem(TWO).encode(),
        to_pem(ONE, TWO).strip().encode(),
    ],
    ids=["plain", "CRLF", "BOM", "comments", "no last line break"],
)
def test_a_bundle_is_read_however_a_partner_wrote_it(text: bytes) -> None:
    assert bundle.parse(text) == [ONE, TWO]


def test_a_garbage_block_is_named_by_its_position_and_hides_no_other() -> None:
    garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    first, broken, last = bundle.parse((to_pem(ONE) + garbage + to_pem(TWO)).encode())

    assert (first, last) == (ONE, TWO)
    assert isinstance(broken, bundle.Unreadable)
    assert broken.position == 2
    assert "cannot be read as a certificate" in broken.reason


@pytest.mark.parametrize("text", [b"", b"\x00\x01\x02", b"-----BEGIN CERTIFICATE-----\nMII"])
def test_a_text_without_certificates_is_named_as_a_whole(text: bytes) -> None:
    assert bundle.parse(text) == [bundle.Unreadable(0, "no PEM certificate in it")]
    assert bundle.fingerprints(text) == frozenset()


def test_a_private_key_beside_a_certificate_never_reaches_the_truststore() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    entries = bundle.parse((key + to_pem(ONE)).encode())

    assert entries == [ONE]
    assert b"PRIVATE" not in bundle.render([ONE])


@pytest.mark.parametrize(
    "certificate",
    [
        builders.foreign(),
        builders.root().certificate,
        builders.foreign(key=ec.generate_private_key(ec.SECP521R1())),
        builders.foreign(key=rsa.generate_private_key(65537, 2048)),
        builders.foreign(authority=False),
        builders.foreign(authority=False, constraints=False),
    ],
    ids=["CA", "ours", "P-521", "RSA-2048", "self-signed leaf", "self-signed without constraints"],
)
def test_what_api_gateway_takes_is_not_refused(certificate: x509.Certificate) -> None:
    assert refusal(certificate, NOW) is None


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (builders.foreign(not_after=NOW - timedelta(seconds=1)), "it expired on"),
        (builders.foreign(not_before=NOW + timedelta(seconds=1)), "it is not valid before"),
        (builders.foreign(digest=hashes.SHA224()), "signed with SHA224"),
        (builders.foreign(key=rsa.generate_private_key(65537, 1024)), "RSA-1024"),  # noqa: S505 - what is refused
        (builders.foreign(key=ec.generate_private_key(ec.SECP224R1())), "secp224r1"),
        (builders.foreign(key=ec.generate_private_key(ec.SECP256K1())), "secp256k1"),
        (
            builders.foreign(key=ed25519.Ed25519PrivateKey.generate(), signer=ec.generate_private_key(ec.SECP256R1())),
            "neither RSA nor ECDSA",
        ),
        (builders.foreign(key=ed25519.Ed25519PrivateKey.generate(), digest=None), "signature algorithm 1.3.101.112"),
        (builders.foreign(authority=False, issuer=ONE), "neither a CA nor self-signed"),
        (builders.foreign(constraints=False, authority=False, issuer=ONE), "neither a CA nor self-signed"),
    ],
)
def test_what_api_gateway_would_not_take_is_refused_with_the_reason(certificate: x509.Certificate, reason: str) -> None:
    assert reason in (refusal(certificate, NOW) or "")
