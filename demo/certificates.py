"""Client certificates as an application holds them, and the ones that must be refused."""

import json
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509

from mtls_rotation.issuers.registry import parse_secret
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import profile
from mtls_rotation.pki.request import CertificateRequest, KeyAlgorithm
from mtls_rotation.provers.tls_context import client_context


@dataclass(frozen=True)
class Held:
    """A client certificate in the hands of an application: its serial, and the TLS context that presents it."""

    serial: str
    context: ssl.SSLContext


def from_secret(value: str, server_ca: str) -> Held:
    """The certificate in a client secret's value."""
    document: dict[str, Any] = json.loads(value)
    chain = document["certificate"] + document.get("certificate_chain", "")
    return Held(document["serial_number"], client_context(chain, document["private_key"], server_ca))


@dataclass(frozen=True)
class Authority:
    """A CA of the demo's own."""

    key: pki.SigningKey
    certificate: x509.Certificate

    @classmethod
    def named(cls, name: str) -> "Authority":
        """A new CA."""
        key = profile.generate_key(KeyAlgorithm.EC_P256)
        request = CertificateRequest(common_name=name, validity_days=365)
        return cls(key, profile.issue_root(request, key, datetime.now(UTC)))

    @classmethod
    def from_secret(cls, value: str) -> "Authority":
        """The CA in a CA secret's value: what someone who may read that secret could do."""
        secret = parse_secret(value, "the CA secret")
        if secret.private_key is None or secret.certificate is None:
            raise ValueError("a CA secret without a CA")
        return cls(pki.key_from_pem(secret.private_key.get_secret_value()), pki.from_pem(secret.certificate)[0])

    def client(self, name: str, server_ca: str, *, issued_ago: timedelta = timedelta()) -> Held:
        """A client certificate of this CA that is valid for a day from `issued_ago`."""
        key = profile.generate_key(KeyAlgorithm.EC_P256)
        request = CertificateRequest(common_name=name, validity_days=1)
        leaf = profile.issue_leaf(request, key.public_key(), self.certificate, self.key, datetime.now(UTC) - issued_ago)
        return Held(pki.serial(leaf), client_context(pki.to_pem(leaf), pki.key_to_pem(key), server_ca))
