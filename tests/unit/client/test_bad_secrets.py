"""What the client says of a secret that it cannot use, and that it never quotes it."""

from __future__ import annotations

import logging
import os
import pickle
import ssl
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mtls_client import (
    ClientCertificate,
    ExpiredCertificateError,
    InvalidSecretError,
    InvalidServerCaError,
    NotYetValidCertificateError,
    SecretsManagerSource,
    SecretUnavailableError,
    UnsupportedPlatformError,
)
from mtls_rotation.pki.certificates import CertifiedKey, key_to_pem, to_pem
from tests.kit import builders
from tests.unit.client.conftest import Clock, leaks
from tests.unit.client.secrets_manager import SecretsManager, value_of

ISSUED = builders.leaf(builders.root())
GOOD = value_of(ISSUED)
LOCKED = ISSUED.key.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"hush")
).decode()
WEAK_KEY = rsa.generate_private_key(65537, 1024)  # noqa: S505 - what is to be refused
WEAK = CertifiedKey(
    key=WEAK_KEY, certificate=builders.foreign(key=WEAK_KEY), chain=(), anchor=builders.foreign(key=WEAK_KEY)
)

_CURVES = bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030106")  # P-256 and prime239v3
UNKNOWN_CURVE = ssl.DER_cert_to_PEM_cert(ISSUED.certificate.public_bytes(serialization.Encoding.DER).replace(*_CURVES))

BAD: dict[str, tuple[str | bytes, str]] = {
    "cut off": (GOOD[:-20], "no JSON object"),
    "a list": (f"[{GOOD}]", "no JSON object"),
    "not JSON, but the key": (key_to_pem(ISSUED.key), "no JSON object"),
    "nested without end": ("[" * 100_000, "no JSON object"),
    "binary": (GOOD.encode(), "a binary value"),
    "an empty certificate": (value_of(ISSUED, certificate=""), "0 certificates"),
    "no certificate": (value_of(ISSUED, certificate=None), "no certificate"),
    "no key": (value_of(ISSUED, private_key=None), "no private_key"),
    "an empty key": (value_of(ISSUED, private_key=" "), "private_key"),
    "a key that is a number": (value_of(ISSUED, private_key=17), "private_key that is no text"),
    "a broken key": (value_of(ISSUED, private_key=key_to_pem(ISSUED.key)[:-60]), "private_key that cannot be read"),
    "half a character": (value_of(ISSUED, private_key="\ud800" + key_to_pem(ISSUED.key)[40:]), "cannot be read"),
    "a key under a password": (value_of(ISSUED, private_key=LOCKED), "private_key that cannot be read"),
    "another's key": (
        value_of(ISSUED, private_key=key_to_pem(builders.leaf(builders.root()).key)),
        "not the certificate's",
    ),
    "a broken certificate": (value_of(ISSUED, certificate="-----BEGIN"), "certificate that cannot be read"),
    "the key for a certificate": (value_of(ISSUED, certificate=key_to_pem(ISSUED.key)), "cannot be read"),
    "two certificates": (value_of(ISSUED, certificate=to_pem(ISSUED.certificate, ISSUED.anchor)), "2 certificates"),
    "an unknown curve": (value_of(ISSUED, certificate=UNKNOWN_CURVE), "a key of an unknown kind"),
    "a broken chain": (value_of(ISSUED, certificate_chain="-----BEGIN"), "certificate_chain that cannot be read"),
    "a chain that is a list": (value_of(ISSUED, certificate_chain=[]), "certificate_chain that is no text"),
    "a key too weak for OpenSSL": (value_of(WEAK), "KEY_TOO_SMALL"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_is_told_apart_and_never_quoted(
    name: str, secrets: SecretsManager, certificate: ClientCertificate, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    value, said = BAD[name]
    version = secrets.rotate(value)

    with pytest.raises(InvalidSecretError) as raised:
        certificate.ssl_context()

    assert said in str(raised.value)
    assert version in str(raised.value)
    assert not leaks(raised.value, value)
    assert not leaks(raised.value, GOOD)
    assert not leaks(Exception(caplog.text, repr(certificate.status())), GOOD)


@pytest.mark.parametrize("chain", [None, "", " \n"])
def test_a_secret_without_intermediates_is_used(
    chain: str | None, secrets: SecretsManager, certificate: ClientCertificate
) -> None:
    secrets.rotate(value_of(ISSUED, certificate_chain=chain))
    assert isinstance(certificate.ssl_context(), ssl.SSLContext)


def test_a_certificate_of_tomorrow_is_refused_until_then(
    secrets: SecretsManager, certificate: ClientCertificate, clock: Clock
) -> None:
    secrets.rotate(value_of(builders.leaf(builders.root(), now=builders.NOW + timedelta(days=1))))

    with pytest.raises(NotYetValidCertificateError, match="valid from"):
        certificate.ssl_context()

    clock.advance(timedelta(days=1, minutes=1))
    certificate.ssl_context()


def test_an_expired_certificate_is_refused(
    secrets: SecretsManager, certificate: ClientCertificate, clock: Clock
) -> None:
    secrets.rotate(GOOD)
    clock.advance(timedelta(days=31))
    with pytest.raises(ExpiredCertificateError, match="expired at"):
        certificate.ssl_context()


def test_a_secret_that_is_not_there_is_named(secrets: SecretsManager, clock: Clock) -> None:
    client: Any = secrets
    with pytest.raises(SecretUnavailableError, match=r"mtls/other.*ResourceNotFoundException"):
        ClientCertificate("mtls/other", source=SecretsManagerSource(client), clock=clock).refresh()


def test_an_error_survives_the_way_to_another_process(certificate: ClientCertificate, secrets: SecretsManager) -> None:
    secrets.rotate("{}")
    with pytest.raises(InvalidSecretError) as raised:
        certificate.refresh()
    again = pickle.loads(pickle.dumps(raised.value))  # noqa: S301 - our own
    assert (type(again), str(again)) == (InvalidSecretError, str(raised.value))


@pytest.mark.parametrize("server_ca", ["/etc/ssl/cert.pem", "", "-----BEGIN CERTIFICATE-----\nAA\n"])
def test_a_server_ca_that_is_no_pem_shows_when_the_transport_is_made(
    server_ca: str, certificate: ClientCertificate
) -> None:
    with pytest.raises(InvalidServerCaError):
        certificate.httpx_transport(server_ca)


def test_without_memory_files_the_key_is_not_put_on_a_disk(
    certificate: ClientCertificate, first: CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    with pytest.raises(UnsupportedPlatformError, match="memfd_create") as raised:
        certificate.ssl_context()
    assert not leaks(raised.value, value_of(first))


def test_a_platform_that_forbids_memory_files_is_told(
    certificate: ClientCertificate, first: CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", forbidden)
    with pytest.raises(UnsupportedPlatformError, match="Operation not permitted"):
        certificate.ssl_context()
