"""Issuers: what signs a certificate. One module each, chosen by `issuer.type` in the secret, none knowing another."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from mtls_rotation.issuers.secretsmanager import SecretsManagerIssuer
from mtls_rotation.issuers.self_signed import SelfSignedIssuer
from mtls_rotation.pki.certificates import CertifiedKey
from mtls_rotation.secret import ManagedSecret
from mtls_rotation.versions import SecretVersions


class Issuer(Protocol):
    """Signs what a secret requests."""

    def issue(self, secret: ManagedSecret, where: str, now: datetime) -> CertifiedKey:
        """A fresh key and its certificate, made to `secret.request`. Writes nothing.

        Args:
            secret: the definition to issue from.
            where: what to call the secret in an error.
            now: the moment of issue.

        Raises:
            UnusableIssuerError: the CA does not exist, or cannot sign.
            ValidityBeyondIssuerError: the request would outlive the CA.
        """
        ...


def issuer_for(secret: ManagedSecret, versions: SecretVersions) -> Issuer:
    """The issuer that the secret names."""
    registry: dict[str, Callable[[Any], Issuer]] = {
        "secretsmanager": lambda reference: SecretsManagerIssuer(reference, versions),
        "self-signed": lambda _: SelfSignedIssuer(),
    }
    return registry[secret.issuer.type](secret.issuer)
