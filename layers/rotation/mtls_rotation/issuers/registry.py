"""Which issuers there are. The one place that lists them; the module of each is imported when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, override

from mtls_rotation.contract.secret import ManagedSecret
from mtls_rotation.errors import UnusableIssuerError

if TYPE_CHECKING:
    from mtls_rotation.aws.services import Services
    from mtls_rotation.contract.issuer import IssuerReference, SecretKind
    from mtls_rotation.issuers.api import Issuer, IssuerKind
    from mtls_rotation.pki.certificates import SigningKey
    from mtls_rotation.timing import Deadline

# `issuer.type` → the module whose `KIND` it is.
MODULES = {
    "secretsmanager": "mtls_rotation.issuers.secretsmanager",
    "kms": "mtls_rotation.issuers.kms",
    "acm-pca": "mtls_rotation.issuers.acm_pca",
    "self-signed": "mtls_rotation.issuers.self_signed",
    "external": "mtls_rotation.issuers.external.issuer",
}


def kind(name: str) -> IssuerKind[Any]:
    """The issuer of that `issuer.type`.

    Raises:
        KeyError: there is none.
    """
    found: IssuerKind[Any] = import_module(MODULES[name]).KIND
    return found


def types_that_sign(secret_kind: SecretKind) -> tuple[str, ...]:
    """The types that may sign for secrets of that kind. Imports them all."""
    return tuple(it for it in MODULES if secret_kind in kind(it).reference.signs)


def types_untrusted_by_default() -> tuple[str, ...]:
    """The types whose anchors the stack's truststore is not to hold where a secret does not say. Imports them all."""
    return tuple(it for it in MODULES if not kind(it).reference.trusted_by_default)


class _References(Mapping[str, "type[IssuerReference]"]):
    """`issuer.type` → what reads `issuer`."""

    @override
    def __getitem__(self, name: str) -> type[IssuerReference]:
        return kind(name).reference

    @override
    def __contains__(self, name: object) -> bool:
        return (
            name in MODULES
        )  # what is asked for may be a private key in the wrong place, which no KeyError is to hold

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    @override
    def __len__(self) -> int:
        return len(MODULES)


def parse_secret(text: str, where: str) -> ManagedSecret:
    """Read a secret's value, its `issuer` by the one that it names. See `ManagedSecret.parse`."""
    return ManagedSecret.parse(text, where, _References())


class Issuers:
    """Makes the issuer that a secret names."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def of(self, secret: ManagedSecret) -> Issuer:
        """A fresh issuer for one order."""
        return self._issuer(secret.issuer)

    def _issuer(self, reference: IssuerReference) -> Issuer:
        return kind(reference.type).issuer(reference, self._services)

    def signing_key(self, ca: ManagedSecret, where: str, deadline: Deadline) -> SigningKey:
        """The key of the CA in a CA secret, from the issuer that keeps it.

        That is mostly the one that the secret names; it is another where `issuer` was changed and no CA made since.

        Args:
            ca: what the CA secret holds.
            where: what to call the secret in an error.
            deadline: until when to wait for a key that was just made.

        Raises:
            UnusableIssuerError: no issuer keeps it.
            KeyNotUsableYetError: it was just made, and cannot be used by the deadline.
        """
        from mtls_rotation.issuers.api import Signer

        named = self.of(ca)
        if isinstance(named, Signer) and named.keeps_key_of(ca):
            return named.signing_key(ca, where, deadline)
        for other in types_that_sign("ca"):
            # A CA secret may say no more of its issuer than the type.
            issuer = self._issuer(kind(other).reference(type=other))
            if isinstance(issuer, Signer) and issuer.keeps_key_of(ca):
                return issuer.signing_key(ca, where, deadline)
        raise UnusableIssuerError(
            where=where,
            found="a CA without private_key and without key_id",
            expected="the value that createSecret puts",
            remedy="Rotate the CA secret.",
        )
