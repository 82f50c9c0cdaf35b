"""Clients of CAs that are the run's own: what a partner has, and what is to be refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509

from demo.certificates import Authority, Held
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import profile
from mtls_rotation.pki.request import CertificateRequest, KeyAlgorithm
from mtls_rotation.provers.tls_context import client_context


@dataclass(frozen=True)
class Client:
    """A client certificate, as it is presented and as PEM; the key is in the TLS context alone."""

    held: Held
    pem: str


def client_of(ca: Authority, name: str, server_ca: str) -> Client:
    """A client of a CA, valid for a day."""
    key = profile.generate_key(KeyAlgorithm.EC_P256)
    request = CertificateRequest(common_name=name, validity_days=1)
    leaf = profile.issue_leaf(request, key.public_key(), ca.certificate, ca.key, datetime.now(UTC))
    return _client(leaf, key, server_ca)


def self_signed(name: str, server_ca: str) -> Client:
    """A client whose certificate is its own anchor."""
    key = profile.generate_key(KeyAlgorithm.EC_P256)
    request = CertificateRequest(common_name=name, validity_days=1)
    return _client(profile.issue_self_signed_leaf(request, key, datetime.now(UTC)), key, server_ca)


def _client(leaf: x509.Certificate, key: pki.SigningKey, server_ca: str) -> Client:
    pem = pki.to_pem(leaf)
    return Client(Held(pki.serial(leaf), client_context(pem, pki.key_to_pem(key), server_ca)), pem)
