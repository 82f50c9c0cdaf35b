"""PEM bundles: the certificates in a text that anyone may have written, and the bytes of a truststore. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509

from mtls_rotation.pki.certificates import fingerprint, to_pem

_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A PEM block, or a whole text, that holds no certificate.

    Attributes:
        position: which block of the bundle, counted from 1; 0 for the whole.
    """

    position: int
    reason: str


def parse(text: bytes) -> list[x509.Certificate | Unreadable]:
    """The certificates of a bundle in their order; what is between the PEM blocks is passed over."""
    blocks = _BLOCK.findall(text)
    if not blocks:
        return [Unreadable(0, "no PEM certificate in it")]
    return [_load(block, position) for position, block in enumerate(blocks, start=1)]


def render(anchors: Iterable[x509.Certificate]) -> bytes:
    """The truststore: each certificate once, in the order of the fingerprints, so that one set has one rendering."""
    unique = {fingerprint(anchor): anchor for anchor in anchors}
    return to_pem(*(unique[key] for key in sorted(unique))).encode()


def fingerprints(text: bytes) -> frozenset[str]:
    """The SHA-256 fingerprints of the certificates in a bundle."""
    return frozenset(fingerprint(entry) for entry in parse(text) if isinstance(entry, x509.Certificate))


def _load(block: bytes, position: int) -> x509.Certificate | Unreadable:
    try:
        certificate = x509.load_pem_x509_certificate(block)
        # Parsing is lazy: what cannot be read later is better found here.
        _ = certificate.extensions, certificate.subject, certificate.issuer, certificate.public_key()
    except Exception as error:  # noqa: BLE001 - whatever the parser makes of rubbish, the other blocks must go in
        return Unreadable(position, f"it cannot be read as a certificate: {error}")
    return certificate
