"""The issuer whose CA key is an asymmetric KMS key: it never leaves KMS, and the CA secret holds only its id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtls_rotation.errors import UnusableIssuerError
from mtls_rotation.issuers.ca_secret import CaSecret, require_within
from mtls_rotation.pki.certificates import CertifiedKey
from mtls_rotation.pki.profile import issue_root

if TYPE_CHECKING:
    from mtls_rotation.aws.kms import SigningKeys
    from mtls_rotation.aws.secret_versions import SecretVersions
    from mtls_rotation.contract.secret import KmsIssuerReference, ManagedSecret
    from mtls_rotation.issuers.api import Authority, Order
    from mtls_rotation.pki.certificates import SigningKey


class KmsIssuer:
    """Signs clients with the CA of a CA secret, and makes such CAs. Each CA has a KMS key of its own."""

    def __init__(self, reference: KmsIssuerReference, versions: SecretVersions, keys: SigningKeys) -> None:
        self._key_id = reference.key_id
        self._reference = reference.ca_secret or ""
        self._ca = CaSecret(self._reference, versions)
        self._keys = keys
        self._authority: Authority | None = None

    def authority(self, order: Order) -> Authority:
        """The CA, read once. See `HasAuthority`."""
        if self._authority is None:
            self._authority = self._ca.authority(order.now)
        return self._authority

    def issue(self, order: Order) -> CertifiedKey:
        """A root for a KMS key, or a fresh key certified by one. See `Issuer.issue`."""
        if order.definition.kind == "ca":
            return self._issue_root(order)
        authority = self.authority(order)
        if authority.secret.key_id is None:
            raise self._ca.unusable('a CA whose key is in its secret, which issuer.type "secretsmanager" signs with')
        require_within(order, authority.certificate, f"rotate the CA {self._reference} first.")
        return self._ca.sign(order, authority, self.signing_key(authority.secret, f"CA secret {self._reference}"))

    def _issue_root(self, order: Order) -> CertifiedKey:
        request = order.definition.request
        key_id = self._key_id or self._keys.make(request.key_algorithm, order.name, order.version_id)
        key = self._keys.signing_key(key_id, order.where)
        certificate = issue_root(request, key, order.now)
        return CertifiedKey(key=key, certificate=certificate, chain=(), anchor=certificate)

    def keeps_key_of(self, ca: ManagedSecret) -> bool:
        """Whether the CA secret names a KMS key. See `Signer`."""
        return ca.key_id is not None

    def signing_key(self, ca: ManagedSecret, where: str) -> SigningKey:
        """The KMS key that the CA secret names. See `Signer`."""
        if ca.key_id is None:
            raise UnusableIssuerError(
                where=where,
                found="a CA without key_id",
                expected="the value that createSecret puts",
                remedy="Rotate the CA secret.",
            )
        return self._keys.signing_key(ca.key_id, where)

    def discard(self, issued: CertifiedKey, kept: ManagedSecret) -> None:
        """Have KMS delete a key that this run made, where another run's certificate was kept. See `Discarding`."""
        key_id = getattr(issued.key, "key_id", None)
        if key_id and self._key_id is None and key_id != kept.key_id:
            self._keys.discard(key_id)
