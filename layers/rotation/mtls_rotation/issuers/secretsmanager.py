"""The issuer whose CA key and certificate live in a Secrets Manager secret: the embedded default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mtls_rotation.contract.issuer import IssuerReference, SecretReference
from mtls_rotation.issuers.api import IssuerKind, Need
from mtls_rotation.issuers.ca_secret import CaSecret, require_within
from mtls_rotation.pki.certificates import CertifiedKey, key_from_pem

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography import x509

    from mtls_rotation.aws.secret_versions import SecretVersions
    from mtls_rotation.contract.issuance import Issuance
    from mtls_rotation.issuers.api import Authority, Order


class Reference(IssuerReference):
    """The CA whose key lives in the secret `ca_secret` (a name or an ARN)."""

    type: Literal["secretsmanager"]
    ca_secret: SecretReference


class SecretsManagerIssuer:
    """Signs with the CA that issues from a CA secret."""

    def __init__(self, ca_secret: str, versions: SecretVersions, issuance: Callable[[], Issuance]) -> None:
        self._reference = ca_secret
        self._ca = CaSecret(ca_secret, versions, issuance)
        self._authority: Authority | None = None

    def authority(self, order: Order) -> Authority:
        """The CA, read once. See `HasAuthority`."""
        if self._authority is None:
            self._authority = self._ca.authority(order)
        return self._authority

    def has_issued(self, order: Order, certificate: x509.Certificate) -> bool:
        """Whether it is by the CA of the CA secret. See `Vouching`."""
        return self._ca.has_issued(order, certificate)

    def issue(self, order: Order) -> CertifiedKey:
        """A fresh key, certified by the CA. See `Issuer.issue`."""
        authority = self.authority(order)
        if authority.secret.key_id is not None:
            raise self._ca.unusable('a CA whose key is in KMS, which issuer.type "kms" signs with')
        if authority.secret.private_key is None:
            raise self._ca.unusable("a secret that holds no CA")
        try:
            key = key_from_pem(authority.secret.private_key.get_secret_value())
        except ValueError:
            raise self._ca.unusable("a private key that cannot be read") from None
        require_within(order, authority.certificate, f"rotate the CA {self._reference} first.")
        return self._ca.sign(order, authority, key)


KIND = IssuerKind(
    reference=Reference,
    issuer=lambda reference, services: SecretsManagerIssuer(
        reference.ca_secret, services.versions, lambda: services.issuance
    ),
    issues_freely=True,
    # To rotate a CA before its time.
    needs=(
        Need(
            ("secretsmanager:RotateSecret",),
            "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:*",
        ),
        Need(("lambda:InvokeFunction",), "${RotateFunction.Arn}"),
    ),
    condition="MayHaveCa",
    parameters={"ca_secret": "CaSecret"},
)
