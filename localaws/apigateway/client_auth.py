"""API Gateway's rules for mutual TLS: what a truststore may hold, and which client chains it accepts. Pure.

Signatures, dates, name chaining and the key usage of a presented chain are OpenSSL's part (``doors/tls.py``).
API Gateway "looks for the client certificate's issuer in your truststore", and refuses one that has none there, that is
signed weakly, or that is self-signed: https://repost.aws/knowledge-center/api-gateway-mutual-tls-403-errors
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from localaws.settings import Settings

MAX_CA_LEVELS = 4
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s.*?-----END CERTIFICATE-----", re.DOTALL)
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


class UnusableTruststoreError(ValueError):
    """The object is not a truststore that API Gateway would accept; the message says why."""


@dataclass(frozen=True)
class Truststore:
    """A truststore as it was when a domain was set to it.

    Attributes:
        bundle: its certificates, in their order.
        anchors: those that clients are verified with: all without a warning.
        warnings: what API Gateway reports about the others.
    """

    uri: str
    version: str | None
    bundle: tuple[x509.Certificate, ...]
    anchors: tuple[x509.Certificate, ...]
    warnings: tuple[str, ...]
    digest: str


def parse_truststore(pem: bytes, uri: str, version: str | None, now: datetime, settings: Settings) -> Truststore:
    """Read a truststore object.

    Raises:
        UnusableTruststoreError: it holds no certificate, one that cannot be parsed, or text that may not be there.
    """
    blocks = _PEM.findall(pem)
    if not blocks or pem.count(b"-----BEGIN CERTIFICATE-----") != len(blocks):
        raise UnusableTruststoreError(f"{uri} is not a bundle of PEM certificates.")
    if settings.comments_in_truststore == "refused" and _PEM.sub(b"", pem).strip():
        raise UnusableTruststoreError(f"{uri} has text outside of its PEM blocks.")
    bundle: list[x509.Certificate] = []
    anchors: list[x509.Certificate] = []
    warnings: list[str] = []
    for block in blocks:
        try:
            certificate = x509.load_pem_x509_certificate(block)
            subject = certificate.subject.rfc4514_string()
            complaints = complaints_about(certificate, now)
        except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
            if isinstance(error, x509.InvalidVersion):
                warnings.append(f"A certificate of an unsupported version: {error}")
                continue
            raise UnusableTruststoreError(f"A certificate in {uri} cannot be parsed: {error}") from error
        bundle.append(certificate)
        if complaints:
            warnings.extend(f"Certificate with subject {subject}: {complaint}" for complaint in complaints)
        else:
            anchors.append(certificate)
    digest = hashlib.sha256(pem).hexdigest()
    return Truststore(uri, version, tuple(bundle), tuple(anchors), tuple(warnings), digest)


def complaints_about(certificate: x509.Certificate, now: datetime) -> list[str]:
    """Return why API Gateway would not use ``certificate``; nothing if it would."""
    return [complaint for rule in _RULES if (complaint := rule(certificate, now)) is not None]


def trusted(truststore: Truststore, settings: Settings) -> tuple[x509.Certificate, ...]:
    """Return the anchors that an issuer may be found among.

    Where only the first of equal subjects is looked at, that is the first in the bundle, with a warning or without.
    """
    if settings.equal_subjects == "any":
        return truststore.anchors
    return tuple(first for first in _first_of_each_subject(truststore).values() if first in truststore.anchors)


def refusal(verified: Sequence[x509.Certificate], truststore: Truststore, settings: Settings) -> str | None:
    """Return why a chain that OpenSSL has verified is refused all the same; leaf first, the first anchor last."""
    chain = _up_to_the_root(verified, truststore)
    leaf, *authorities = chain
    if settings.self_signed_clients == "refused" and not authorities:
        return "self signed certificate" if leaf.issuer == leaf.subject else "Could not find issuer for certificate"
    if settings.incomplete_chains == "refused" and not _is_complete(chain, truststore):
        return "Could not find issuer for certificate"
    if settings.equal_subjects == "first" and not _is_found_by_name(chain, truststore):
        return "Could not find issuer for certificate"
    if len(authorities) > MAX_CA_LEVELS:
        return f"the chain has {len(authorities)} certificate authorities, more than {MAX_CA_LEVELS}"
    now = datetime.now(UTC)
    for certificate in chain:
        complaints = complaints_about(certificate, now)
        if complaints:
            return f"{certificate.subject.rfc4514_string()}: {complaints[0]}"
    return None


def _up_to_the_root(verified: Sequence[x509.Certificate], truststore: Truststore) -> list[x509.Certificate]:
    """The chain as far up as the truststore has it."""
    chain = list(verified)
    while issuer := next((it for it in truststore.anchors if it not in chain and _has_issued(it, chain[-1])), None):
        chain.append(issuer)
    return chain


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    if issuer.subject != certificate.issuer:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_complete(chain: Sequence[x509.Certificate], truststore: Truststore) -> bool:
    """Whether the truststore has every authority, up to a root.

    "You must include the complete chain of trust, starting from the issuing CA certificate, up to the root CA
    certificate, in your truststore":
    https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-mutual-tls.html
    """
    return chain[-1].issuer == chain[-1].subject and all(it in truststore.anchors for it in chain[1:])


def _is_found_by_name(chain: Sequence[x509.Certificate], truststore: Truststore) -> bool:
    """Whether the chain is the one that is found by looking each issuer up by its name alone.

    So a name that the truststore has is that anchor's, also where the client presents an intermediate of the name.
    """
    first = _first_of_each_subject(truststore)
    return all(first.get(_name(it.issuer), issuer) == issuer for it, issuer in pairwise(chain))


def _first_of_each_subject(truststore: Truststore) -> dict[str, x509.Certificate]:
    return {_name(certificate.subject): certificate for certificate in reversed(truststore.bundle)}


def _name(name: x509.Name) -> str:
    """As RFC 5280, section 7.1 compares names: without regard to case."""
    return name.rfc4514_string().casefold()


def _version(certificate: x509.Certificate, _: datetime) -> str | None:
    return None if certificate.version is x509.Version.v3 else "not an X.509 version 3 certificate"


def _dates(certificate: x509.Certificate, now: datetime) -> str | None:
    if now >= certificate.not_valid_after_utc:
        return f"expired on {certificate.not_valid_after_utc.isoformat()}"
    if now < certificate.not_valid_before_utc:
        return f"not valid before {certificate.not_valid_before_utc.isoformat()}"
    return None


def _signature(certificate: x509.Certificate, _: datetime) -> str | None:
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        algorithm = None
    if isinstance(algorithm, _HASHES):
        return None
    return f"signed with {algorithm.name if algorithm else 'an unsupported algorithm'}; SHA-256 or stronger is needed"


def _key(certificate: x509.Certificate, _: datetime) -> str | None:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "holds a public key of an unsupported kind"
    if isinstance(key, rsa.RSAPublicKey):
        return None if key.key_size >= 2048 else f"has an RSA key of {key.key_size} bits; 2048 or more are needed"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return None if isinstance(key.curve, _CURVES) else f"has a key on the curve {key.curve.name}; P-256 or stronger"
    return "holds a public key that is neither RSA nor ECDSA"


# In this order: what is wrong with the certificate as such comes before what time has done to it.
_RULES: tuple[Callable[[x509.Certificate, datetime], str | None], ...] = (_version, _signature, _key, _dates)
