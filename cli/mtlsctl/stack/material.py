"""What a version of a secret holds. The private key is in it: in memory, and out of every `repr`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from cryptography import x509

from mtls_rotation.contract.labels import AWSCURRENT, AWSPENDING, AWSPREVIOUS
from mtls_rotation.pki import bundles
from mtls_rotation.rotation.value import parse_value
from mtlsctl.errors import NoCertificateError

if TYPE_CHECKING:
    from mtls_rotation.aws.secret_versions import SecretVersion
    from mtls_rotation.contract.secret import ManagedSecret
    from mtlsctl.stack.deployment import Deployment


class Label(StrEnum):
    """The staging labels that a certificate may be held at."""

    CURRENT = AWSCURRENT
    PREVIOUS = AWSPREVIOUS
    PENDING = AWSPENDING


@dataclass(frozen=True, slots=True)
class Material:
    """A version's value, read.

    Attributes:
        chain: the intermediates between certificate and anchor.
    """

    name: str
    version_id: str
    secret: ManagedSecret
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    anchor: x509.Certificate

    @property
    def authorities(self) -> tuple[x509.Certificate, ...]:
        """What a truststore must hold: the whole chain above the certificate; the certificate if it is its own."""
        return (*self.chain, self.anchor)

    @property
    def issuing(self) -> x509.Certificate:
        """The CA that has signed the certificate."""
        return self.authorities[0]


def stored_at(deployment: Deployment, secret_id: str, label: Label) -> SecretVersion:
    """The version of a secret that carries `label`, with its value.

    Raises:
        UnknownSecretError: there is no such secret of the stack.
        NoCertificateError: no version with a value carries the label.
    """
    described = deployment.secret(secret_id)
    if version := deployment.services.versions.at(described.arn, label):
        return version
    raise nothing_at(described.name, label)


def nothing_at(name: str, label: Label) -> NoCertificateError:
    """The error for a label at which there is no certificate."""
    return NoCertificateError(
        where=f"secret {name}",
        found=f"no certificate at {label}",
        expected="a version that a rotation has made",
        remedy="No rotation is under way, or it has made none yet: see `mtlsctl status`."
        if label is Label.PENDING
        else f"`mtlsctl rotate {name} --wait` makes one.",
    )


def read(stored: SecretVersion) -> Material:
    """What a version's value says.

    Raises:
        InvalidSecretError: it is not a managed secret's.
        NoCertificateError: it holds no certificate yet.
        ValueError: what stands for a certificate in it is none.
    """
    secret = parse_value(stored.value, f"secret {stored.name}, version {stored.version_id}")
    if not secret.issued:
        raise NoCertificateError(
            where=f"secret {stored.name}, version {stored.version_id}",
            found="a value without a certificate",
            expected="what a rotation puts",
            remedy=f"`mtlsctl rotate {stored.name} --wait` makes one.",
        )
    return Material(
        name=stored.name,
        version_id=stored.version_id,
        secret=secret,
        certificate=_one("certificate", secret.certificate),
        chain=_all("certificate_chain", secret.certificate_chain),
        anchor=_one("anchor", secret.anchor),
    )


def _one(member: str, pem: str | None) -> x509.Certificate:
    match _all(member, pem):
        case (certificate,):
            return certificate
        case _:
            raise ValueError(f'"{member}" is not the PEM of one certificate')


def _all(member: str, pem: str | None) -> tuple[x509.Certificate, ...]:
    """The certificates of a member, each of which can be read to its end."""
    found = bundles.parse((pem or "").encode()) if (pem or "").strip() else []
    for it in found:
        if isinstance(it, bundles.Unreadable):
            raise ValueError(f'"{member}" is not the PEM of one certificate or more: {it.reason}')  # noqa: TRY004 - it is a string, and a wrong one
    return tuple(it for it in found if isinstance(it, x509.Certificate))
