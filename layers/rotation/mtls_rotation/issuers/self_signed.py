"""The issuer of certificates that sign themselves and are their own anchor: root CAs, and clients that are pinned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mtls_rotation.contract.issuer import IssuerReference
from mtls_rotation.errors import UnusableIssuerError
from mtls_rotation.issuers.api import IssuerKind
from mtls_rotation.pki.certificates import CertifiedKey, key_from_pem
from mtls_rotation.pki.profile import generate_key, issue_root, issue_self_signed_leaf

if TYPE_CHECKING:
    from mtls_rotation.contract.secret import ManagedSecret
    from mtls_rotation.issuers.api import Order
    from mtls_rotation.pki.certificates import SigningKey
    from mtls_rotation.timing import Deadline


class Reference(IssuerReference):
    """The certificate signs itself: a root CA, or a client certificate that is its own anchor."""

    signs = frozenset({"client", "ca"})
    self_signed = True

    type: Literal["self-signed"]


class SelfSignedIssuer:
    """Needs nothing but the request."""

    def issue(self, order: Order) -> CertifiedKey:
        """A fresh key and the certificate that it signs. See `Issuer.issue`."""
        request = order.definition.request
        key = generate_key(request.key_algorithm)
        make = issue_root if order.definition.kind == "ca" else issue_self_signed_leaf
        certificate = make(request, key, order.now)
        return CertifiedKey(key=key, certificate=certificate, chain=(), anchor=certificate)

    def keeps_key_of(self, ca: ManagedSecret) -> bool:
        """Whether the CA secret holds its key. See `Signer`."""
        return ca.private_key is not None

    def signing_key(self, ca: ManagedSecret, where: str, deadline: Deadline) -> SigningKey:
        """The key in the CA secret. See `Signer`."""
        if ca.private_key is None:
            raise UnusableIssuerError(
                where=where,
                found="a CA without private_key",
                expected="the value that createSecret puts",
                remedy="Rotate the CA secret.",
            )
        return key_from_pem(ca.private_key.get_secret_value())


KIND = IssuerKind(
    reference=Reference, issuer=lambda _, __: SelfSignedIssuer(), issues_freely=True, issued_at_bootstrap=True
)
