"""A certificate with its private key, as one version of the secret holds it: read, and checked as far as that goes
without a network.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mtls_client.errors import (
    ExpiredCertificateError,
    InvalidSecretError,
    NotYetValidCertificateError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from mtls_client.source import SecretVersion


@dataclass(frozen=True, slots=True)
class Credential:
    """What a client presents, and what it proves it with.

    Attributes:
        secret: the secret's name or ARN.
        version_id: the version of the secret that it came from.
        serial_number: the leaf's, lower-case hex.
        not_before: from when on the leaf is valid, UTC.
        not_after: until when, UTC.
        chain: PEM of the leaf and its intermediates.
        key: PKCS#8 PEM.
        server_ca: PEM of the CAs that the server's certificate may chain to, as the secret's `endpoint` has it; None if
            it does not say.
    """

    secret: str
    version_id: str
    serial_number: str
    not_before: datetime
    not_after: datetime
    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)
    server_ca: str | None = None

    @property
    def where(self) -> str:
        """What error messages call it."""
        return f"secret {self.secret}, version {self.version_id}"

    def expired(self, now: datetime) -> bool:
        """Whether its validity is over."""
        return now >= self.not_after

    def require_valid(self, now: datetime) -> None:
        """See to it that the leaf is valid at this moment.

        Raises:
            NotYetValidCertificateError: not yet.
            ExpiredCertificateError: no more.
        """
        if now < self.not_before:
            raise NotYetValidCertificateError(
                where=self.where,
                found=f"a certificate that is valid from {self.not_before:%Y-%m-%dT%H:%M:%SZ} on",
                expected=f"one that is valid now, at {now:%Y-%m-%dT%H:%M:%SZ}",
                remedy="Wait, or set the clock of whichever side is wrong.",
            )
        if self.expired(now):
            raise ExpiredCertificateError(
                where=self.where,
                found=f"a certificate that expired at {self.not_after:%Y-%m-%dT%H:%M:%SZ}",
                expected=f"one that is valid now, at {now:%Y-%m-%dT%H:%M:%SZ}",
                remedy="Rotate the secret.",
            )


def parse(secret: str, version: SecretVersion) -> Credential:
    """Read the secret's value: JSON with `certificate`, `private_key` and, where there is one, `certificate_chain`.

    Raises:
        InvalidSecretError: something is missing or malformed, or the key is not the certificate's.
    """
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    where = f"secret {secret}, version {version.version_id}"
    document = _or_none(json.loads, version.value)
    if not isinstance(document, dict):
        raise _invalid(
            where, "a value that is no JSON object", "certificate, certificate_chain and private_key in JSON"
        )
    leaves = _certificates(where, "certificate", _member(where, document, "certificate"))
    if len(leaves) != 1:
        found = f"{len(leaves)} certificates in certificate"
        raise _invalid(where, found, "the leaf alone, and the others in certificate_chain")
    (leaf,) = leaves
    chain = []
    if document.get("certificate_chain") is not None:
        chain = _certificates(where, "certificate_chain", _member(where, document, "certificate_chain"))
    pem = _member(where, document, "private_key").encode(errors="replace")
    key: PrivateKeyTypes | None = _or_none(lambda data: load_pem_private_key(data, password=None), pem)
    if key is None:
        raise _invalid(where, "a private_key that cannot be read", "PKCS#8 PEM without a password")
    public_key = _or_none(type(leaf).public_key, leaf)
    if public_key is None:
        raise _invalid(where, "a certificate for a key of an unknown kind", "RSA, EC or Ed25519")
    if key.public_key() != public_key:
        raise _invalid(
            where, "a private_key that is not the certificate's", "the key that the certificate was made for"
        )
    return Credential(
        secret=secret,
        version_id=version.version_id,
        serial_number=f"{leaf.serial_number:x}",
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        # Written afresh: whatever else the PEM holds, such as a second key, does not reach OpenSSL.
        chain=b"".join(certificate.public_bytes(Encoding.PEM) for certificate in (leaf, *chain)),
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        server_ca=_server_ca(document),
    )


def _server_ca(document: Mapping[str, object]) -> str | None:
    endpoint = document.get("endpoint")
    server_ca = endpoint.get("server_ca") if isinstance(endpoint, dict) else None
    return server_ca if isinstance(server_ca, str) and server_ca.strip() else None


def _certificates(where: str, name: str, pem: str) -> list[x509.Certificate]:
    from cryptography import x509

    if not pem.strip():
        return []
    found = _or_none(x509.load_pem_x509_certificates, pem.encode(errors="replace"))
    if found is None:
        raise _invalid(where, f"a {name} that cannot be read", "certificates in PEM")
    return found


def _member(where: str, document: Mapping[str, object], name: str) -> str:
    text = document.get(name)
    if not isinstance(text, str):
        raise _invalid(where, f"no {name}" if text is None else f"a {name} that is no text", "PEM")
    return text


def _or_none[Given, Read](read: Callable[[Given], Read], given: Given) -> Read | None:
    """What was read, or None. The exception is dropped with its context: it may quote what was given."""
    from cryptography.exceptions import InternalError, UnsupportedAlgorithm
    from cryptography.x509 import InvalidVersion

    try:
        return read(given)
    except (ValueError, TypeError, RecursionError, UnsupportedAlgorithm, InternalError, InvalidVersion):
        return None


def _invalid(where: str, found: str, expected: str) -> InvalidSecretError:
    return InvalidSecretError(
        where=where,
        found=found,
        expected=expected,
        remedy="Rotate the secret, or correct its value.",
    )
