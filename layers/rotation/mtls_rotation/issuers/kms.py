"""The issuer whose CA key is an asymmetric KMS key: it never leaves KMS, and the CA secret holds only its id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, override

from pydantic import Field

from mtls_rotation.contract.issuer import IssuerReference, SecretKind, SecretReference
from mtls_rotation.errors import UnusableIssuerError
from mtls_rotation.issuers.api import Enabling, IssuerKind, Need
from mtls_rotation.issuers.ca_secret import CaSecret, require_within
from mtls_rotation.pki.certificates import CertifiedKey, from_pem
from mtls_rotation.pki.profile import issue_root, issued_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from cryptography import x509

    from mtls_rotation.aws.kms import SigningKeys
    from mtls_rotation.aws.secret_versions import SecretVersions
    from mtls_rotation.contract.issuance import Issuance
    from mtls_rotation.contract.secret import ManagedSecret
    from mtls_rotation.issuers.api import Authority, Order
    from mtls_rotation.pki.certificates import SigningKey
    from mtls_rotation.timing import Deadline


class Reference(IssuerReference):
    """The CA whose key lives in KMS and never leaves it.

    Attributes:
        ca_secret: in a client secret, the CA secret to issue from (a name or an ARN).
        key_id: in a CA secret, the asymmetric KMS key to make the CA's certificate for; a new key is made for each
            CA certificate when absent.
    """

    signs = frozenset({"client", "ca"})
    in_kms = True

    type: Literal["kms"]
    ca_secret: SecretReference | None = None
    key_id: Annotated[str, Field(min_length=1, max_length=2048)] | None = None

    @override
    def misfit(self, kind: SecretKind, *, trusted: bool) -> tuple[str, str] | None:
        if kind == "client" and (self.ca_secret is None or self.key_id):
            return (
                'a client secret whose issuer "kms" names no ca_secret, or names a key_id',
                "ca_secret, and no key_id",
            )
        if kind == "ca" and self.ca_secret:
            return 'a CA secret whose issuer "kms" names a ca_secret', "a key_id, or neither"
        return None


class KmsIssuer:
    """Signs clients with the CA of a CA secret, and makes such CAs. Each CA has a KMS key of its own."""

    def __init__(
        self, reference: Reference, versions: SecretVersions, keys: SigningKeys, issuance: Callable[[], Issuance]
    ) -> None:
        self._key_id = reference.key_id
        self._reference = reference.ca_secret or ""
        self._ca = CaSecret(self._reference, versions, issuance, in_kms=True)
        self._keys = keys
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
        """A root for a KMS key, or a fresh key certified by one. See `Issuer.issue`."""
        if order.definition.kind == "ca":
            return self._issue_root(order)
        authority = self.authority(order)
        if authority.secret.key_id is None:
            raise self._ca.unusable('a CA whose key is in its secret, which issuer.type "secretsmanager" signs with')
        require_within(order, authority.certificate, f"rotate the CA {self._reference} first.")
        key = self.signing_key(authority.secret, f"CA secret {self._reference}", order.deadline)
        return self._ca.sign(order, authority, key)

    def _issue_root(self, order: Order) -> CertifiedKey:
        request = order.definition.request
        key_id, made = self._key_id, None
        if key_id is None:
            own = self._keys.make(request.key_algorithm, order.name, order.version_id, order.deadline)
            key_id, made = own.key_id, own.made
        key = self._keys.signing_key(key_id, order.where, made, order.deadline)
        certificate = issue_root(request, key, order.now)
        return CertifiedKey(key=key, certificate=certificate, chain=(), anchor=certificate)

    def keeps_key_of(self, ca: ManagedSecret) -> bool:
        """Whether the CA secret names a KMS key. See `Signer`."""
        return ca.key_id is not None

    def signing_key(self, ca: ManagedSecret, where: str, deadline: Deadline) -> SigningKey:
        """The KMS key that the CA secret names. See `Signer`."""
        if ca.key_id is None:
            raise UnusableIssuerError(
                where=where,
                found="a CA without key_id",
                expected="the value that createSecret puts",
                remedy="Rotate the CA secret.",
            )
        return self._keys.signing_key(ca.key_id, where, key_made_at(ca), deadline)

    def discard(self, order: Order, kept: ManagedSecret | None) -> None:
        """Have KMS delete the keys that were made for the order, but the one that is kept. See `Discarding`."""
        if self._key_id is not None or order.definition.kind != "ca" or (kept is not None and kept.key_id is None):
            return  # the operator's key, none at all, or a value that does not say which key it needs
        self._keys.discard(order.name, order.version_id, kept.key_id if kept else None, order.deadline)


def key_made_at(ca: ManagedSecret) -> datetime | None:
    """When the key of a CA was made, at the latest: before its certificate was. None for one that was not made for it.

    Args:
        ca: what a CA secret holds.
    """
    if isinstance(ca.issuer, Reference) and ca.issuer.key_id:
        return None
    try:
        certificate, *_ = from_pem(ca.certificate or "")
    except ValueError:
        return None
    return issued_at(certificate)


_KEYS = "arn:${AWS::Partition}:kms:${AWS::Region}:${AWS::AccountId}:key/*"

KIND = IssuerKind(
    reference=Reference,
    issuer=lambda reference, services: KmsIssuer(
        reference, services.versions, services.signing_keys, lambda: services.issuance
    ),
    needs=(
        # By a key's own policy they may be had, too, and the rest that is done with one: see `aws.key_policy`.
        Need(("kms:GetPublicKey", "kms:Sign"), _KEYS),
        Need(("kms:CreateKey", "kms:TagResource", "tag:GetResources"), "*"),
        Need(("s3:GetObject", "s3:PutObject"), "${Bucket.Arn}/state/keys/*"),
    ),
    condition="UsesKms",
    ca_issuer="kms",
    parameters={"ca_secret": "CaSecret"},
    enabling=lambda _: Enabling('issuer "kms"', (("ClientIssuer", "kms"), ("KmsIssuer", "enabled"))),
)
