"""What a CA may send: the certificates in it, whatever its form."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from mtls_rotation.pki import bundles


def certificates_in(body: bytes) -> list[x509.Certificate]:
    """The certificates in what a CA may send: PEM with anything between, PKCS #7 (.p7b) in PEM or DER, or plain DER."""
    if found := [it for it in bundles.parse(body) if isinstance(it, x509.Certificate)]:
        return found
    from cryptography.hazmat.primitives.serialization import pkcs7

    for read in (pkcs7.load_pem_pkcs7_certificates, pkcs7.load_der_pkcs7_certificates, _single):
        try:
            listed = read(body)
        except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
            continue
        whole = (bundles.whole(lambda it=it: it) for it in listed)  # type: ignore[misc]
        return [it for it in whole if isinstance(it, x509.Certificate)]
    return []


def _single(body: bytes) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(body)]
