"""The certificates and the key in the value of a secret, read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtls_rotation.pki import certificates as pki

if TYPE_CHECKING:
    from cryptography import x509

    from mtls_rotation.contract.secret import ManagedSecret


def certificates_of(secret: ManagedSecret) -> tuple[tuple[x509.Certificate, ...], x509.Certificate]:
    """The certificate with its intermediates, and its anchor."""
    (leaf,) = pki.from_pem(secret.certificate or "")
    (anchor,) = pki.from_pem(secret.anchor or "")
    return (leaf, *pki.from_pem(secret.certificate_chain or "")), anchor


def authorities_of(secret: ManagedSecret) -> tuple[x509.Certificate, ...]:
    """What a truststore must hold: API Gateway wants the whole chain above the certificate, up to the root.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-mutual-tls.html
    """
    (_, *intermediates), anchor = certificates_of(secret)
    return (*intermediates, anchor)


def private_key_of(secret: ManagedSecret) -> pki.SigningKey:
    """A client's private key."""
    if secret.private_key is None:
        raise ValueError("a client secret without private_key")
    return pki.key_from_pem(secret.private_key.get_secret_value())
