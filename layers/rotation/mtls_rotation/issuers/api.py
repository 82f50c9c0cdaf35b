"""Issuers: what signs a certificate. One module each, chosen by `issuer.type` in the secret, none knowing another.

This module holds what they have in common: what each says of itself in its `KIND`, the order that each is given, the
protocol, and what only some can do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta

    from cryptography import x509

    from mtls_rotation.aws.services import Services
    from mtls_rotation.contract.issuer import IssuerReference
    from mtls_rotation.contract.secret import ManagedSecret
    from mtls_rotation.pki.certificates import CertifiedKey, SigningKey
    from mtls_rotation.timing import Deadline


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be issued.

    Attributes:
        definition: what the secret asks for.
        version_id: the version that the certificate is for, which is the rotation's token.
        now: the moment of issue.
        deadline: until when an issuer may wait for others.
    """

    definition: ManagedSecret
    arn: str
    name: str
    version_id: str
    now: datetime
    deadline: Deadline

    @property
    def where(self) -> str:
        """What to call the secret in an error."""
        return f"secret {self.name}"


class Issuer(Protocol):
    """Signs what a secret requests."""

    def issue(self, order: Order) -> CertifiedKey:
        """A fresh key and its certificate, made to `order.definition.request`.

        Everything that can be found wrong is found before a key is made.

        Raises:
            UnusableIssuerError: the CA does not exist, or cannot sign.
            ValidityBeyondIssuerError: the request would outlive the CA.
            InvalidSecretError: the request asks for what this issuer cannot give.
            OutOfTimeError: the issuer did not answer in time; nothing was written.
            WaitingForCertificateError: an external CA has yet to sign.
            UnfitCertificateError: what it signed is not what was asked for.
        """
        ...


@dataclass(frozen=True, slots=True)
class Need:
    """What an issuer has AWS do when it serves the rotate function.

    Attributes:
        actions: as IAM calls them.
        resource: what they are done to, as the template writes it.
    """

    actions: tuple[str, ...]
    resource: str


@dataclass(frozen=True, slots=True)
class Enabling:
    """What lets the stack's functions serve a reference.

    Attributes:
        what: what is let, in words.
        settings: parameters of the template with the value that does. One of them is enough; the last is advised.
    """

    what: str
    settings: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerKind[R: IssuerReference]:
    """What there is to know of an issuer before one is made: each module's `KIND`.

    Attributes:
        reference: its settings in a secret, and what follows from them: see `IssuerReference`.
        issuer: makes one for a secret's reference.
        needs: what its calls of AWS need, beside what every rotation does.
        condition: the template's condition under which its policy gives that; empty if it needs nothing.
        issues_freely: whether a certificate that is issued in vain costs nothing, and leaves nothing behind.
        issued_at_bootstrap: whether the stack's own client is issued when the stack is made: the truststore's first
            anchor comes with it, with no CA secret beside it.
        ca_issuer: the type of issuer that makes the stack's own CA for it.
        parameters: members of `reference` → the parameter of the template that says them for the stack's own client.
        enabling: what must be set in the template before a secret may hold that reference; None if nothing.
    """

    reference: type[R]
    issuer: Callable[[R, Services], Issuer]
    needs: tuple[Need, ...] = ()
    condition: str = ""
    issues_freely: bool = False
    issued_at_bootstrap: bool = False
    ca_issuer: str = "self-signed"
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    enabling: Callable[[R], Enabling | None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Authority:
    """The CA that an issuer signs with, and what follows it.

    Attributes:
        reference: the CA secret as the client secret names it.
        version_id: the version at AWSCURRENT.
        secret: the version that issues: AWSCURRENT, or during a notice the one before.
        successor_from: the end of the notice, while the version that issues is not AWSCURRENT.
        lifetime: how long the CA's next certificate will live.
        notice: how long that one will be announced before it issues.
    """

    reference: str
    version_id: str
    secret: ManagedSecret
    certificate: x509.Certificate
    successor_from: datetime | None
    lifetime: timedelta
    notice: timedelta


@runtime_checkable
class HasAuthority(Protocol):
    """An issuer whose CA is a secret that this stack rotates."""

    def authority(self, order: Order) -> Authority:
        """The CA that will sign the order. Asking again costs nothing."""
        ...


@runtime_checkable
class Vouching(Protocol):
    """An issuer that can tell what its CA has signed."""

    def has_issued(self, order: Order, certificate: x509.Certificate) -> bool:
        """Whether a certificate is by the CA that would sign the order, or by the one before it.

        Raises:
            UnlistedAuthorityError, UnentitledRequestError: it would not sign the order.
        """
        ...


@runtime_checkable
class Signer(Protocol):
    """An issuer of CAs, which can sign with one that it made."""

    def keeps_key_of(self, ca: ManagedSecret) -> bool:
        """Whether the key of the CA in a CA secret is where this issuer keeps keys."""
        ...

    def signing_key(self, ca: ManagedSecret, where: str, deadline: Deadline) -> SigningKey:
        """The key of the CA in a CA secret. One that was just made may have to be waited for, until the deadline."""
        ...


@runtime_checkable
class Concluding(Protocol):
    """An issuer that has something to clear away once its certificate is in use."""

    def conclude(self, secret: ManagedSecret, arn: str, name: str) -> None:
        """Clear it away. May be repeated."""
        ...


@runtime_checkable
class Discarding(Protocol):
    """An issuer that makes something for an order that would be left behind if its certificate is not kept."""

    def discard(self, order: Order, kept: ManagedSecret | None) -> None:
        """Clear away what was made for the order and is of no use to `kept`. May be repeated.

        Args:
            order: what was to be issued.
            kept: what its version holds, which may be another run's; None if it holds nothing and is not going to.
        """
        ...
