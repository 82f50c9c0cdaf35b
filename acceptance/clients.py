"""Clients of CAs that are the run's own: what a partner has, and what is to be refused."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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


def authority(name: str, issuer: Authority | None = None) -> Authority:
    """A CA whose subject is a common name and nothing else, so that another may have the same.

    Args:
        name: the common name.
        issuer: the CA that signs it; itself, if left out.
    """
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC).replace(microsecond=0)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    above = issuer.key if issuer else key
    unused = dict.fromkeys(inspect.signature(x509.KeyUsage).parameters, False)
    usage = unused | {"key_cert_sign": True, "crl_sign": True}
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0 if issuer else 1), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key()), critical=False)
    )
    return Authority(key, builder.sign(above, hashes.SHA256()))


def client_of(ca: Authority, name: str, server_ca: str, *, presenting: Sequence[Authority] = ()) -> Client:
    """A client of a CA, valid for a day.

    Args:
        ca: the CA.
        name: its common name.
        server_ca: the CA of the server; empty: the public ones.
        presenting: the CAs whose certificates it presents beside its own.
    """
    key = profile.generate_key(KeyAlgorithm.EC_P256)
    request = CertificateRequest(common_name=name, validity_days=1)
    leaf = profile.issue_leaf(request, key.public_key(), ca.certificate, ca.key, datetime.now(UTC))
    return _client(leaf, key, server_ca, *presenting)


def self_signed(name: str, server_ca: str) -> Client:
    """A client whose certificate is its own anchor."""
    key = profile.generate_key(KeyAlgorithm.EC_P256)
    request = CertificateRequest(common_name=name, validity_days=1)
    return _client(profile.issue_self_signed_leaf(request, key, datetime.now(UTC)), key, server_ca)


def _client(leaf: x509.Certificate, key: pki.SigningKey, server_ca: str, *presenting: Authority) -> Client:
    pem = pki.to_pem(leaf)
    chain = pem + "".join(pki.to_pem(it.certificate) for it in presenting)
    return Client(Held(pki.serial(leaf), client_context(chain, pki.key_to_pem(key), server_ca)), pem)
