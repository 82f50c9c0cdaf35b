"""The CA in a CA secret, as the issuers that sign with one read it: which version issues now, and whether it can."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from cryptography import x509

from mtls_rotation.aws.secret_versions import out_of_reach
from mtls_rotation.contract.issuance import Secret
from mtls_rotation.contract.labels import AWSCURRENT, AWSPREVIOUS, issues_until
from mtls_rotation.errors import InvalidSecretError, UnusableIssuerError, ValidityBeyondIssuerError
from mtls_rotation.issuers.api import Authority
from mtls_rotation.issuers.registry import parse_secret
from mtls_rotation.pki.certificates import CertifiedKey, from_pem, subject
from mtls_rotation.pki.profile import generate_key, issue_leaf
from mtls_rotation.pki.signatures import signed_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtls_rotation.aws.secret_versions import SecretVersion, SecretVersions
    from mtls_rotation.contract.issuance import Issuance
    from mtls_rotation.contract.secret import ManagedSecret
    from mtls_rotation.issuers.api import Order
    from mtls_rotation.pki.certificates import SigningKey


class CaSecret:
    """A CA secret, by the reference that a client secret holds.

    Args:
        reference: its name or ARN.
        versions: reads it.
        issuance: what the operator says.
        in_kms: whether KMS signs for it. Then it must be one that the operator listed, whoever is to trust it.
    """

    def __init__(
        self, reference: str, versions: SecretVersions, issuance: Callable[[], Issuance], *, in_kms: bool = False
    ) -> None:
        self._reference = reference
        self._versions = versions
        self._issuance = issuance
        self._in_kms = in_kms

    def authority(self, order: Order) -> Authority:
        """The CA that issues now.

        Raises:
            UnusableIssuerError: there is no such secret, or none that holds a CA in date.
            UnlistedAuthorityError: the truststore would have to hold it, or KMS to sign, and it is nobody's who may
                have that.
            UnentitledRequestError: it may not issue what is ordered.
        """
        now = order.now
        version = self._version(AWSCURRENT)
        if version is None:
            raise self.unusable("no such secret, or one without a value")
        current = self._parse(version.value)
        issuance, holder = self._issuance(), Secret(version.name, version.arn)
        if self._in_kms or (order.definition.kind == "client" and order.definition.gateway_trusts):
            issuance.require_listed(holder, "the CA", order.where, in_kms=self._in_kms)
        if order.definition.kind == "client":
            asking = Secret(order.name, order.arn)
            issuance.require_entitled(asking, order.definition.request, current.request, current.may_issue or ())
        issuing, certificate, successor_from = current, self._certificate(current), None
        notice_ends = datetime.fromisoformat(current.use_from) if current.use_from else now
        if notice_ends > now and (before := self._before(notice_ends, now)):
            issuing, certificate = before
            successor_from = notice_ends
        self._require_in_date(certificate, now)
        return Authority(
            reference=self._reference,
            version_id=version.version_id,
            secret=issuing,
            certificate=certificate,
            successor_from=successor_from,
            lifetime=current.request.validity,
            notice=current.notice,
        )

    def has_issued(self, order: Order, certificate: x509.Certificate) -> bool:
        """Whether it is by the CA that issues now, or by one before or after it. See `Vouching`."""
        issuing = self.authority(order).certificate
        versions = filter(None, map(self._version, (AWSCURRENT, AWSPREVIOUS)))
        others = (self._certificate(self._parse(it.value)) for it in versions)
        return signed_by(certificate, issuing) or any(signed_by(certificate, it) for it in others)

    def _before(self, notice_ends: datetime, now: datetime) -> tuple[ManagedSecret, x509.Certificate] | None:
        """The CA that issues until the notice of its successor ends; None if there is none that still can."""
        version = self._version(issues_until(notice_ends))
        if version is None:
            return None
        secret = self._parse(version.value)
        certificate = self._certificate(secret)
        return (secret, certificate) if now < certificate.not_valid_after_utc else None

    def _version(self, label: str) -> SecretVersion | None:
        """The version at a label; None if there is none that can be seen."""
        try:
            return self._versions.at(self._reference, label)
        except ClientError as error:
            if reason := out_of_reach(error):
                raise self.unusable(reason) from None
            raise

    def _parse(self, value: str) -> ManagedSecret:
        try:
            secret = parse_secret(value, self._reference)
        except InvalidSecretError as error:
            raise self.unusable(f"{error.found} ({error.code})") from None
        if secret.kind != "ca" or secret.certificate is None:
            raise self.unusable("a secret that holds no CA")
        return secret

    def _certificate(self, secret: ManagedSecret) -> x509.Certificate:
        try:
            certificate = from_pem(secret.certificate or "")[0]
        except (ValueError, IndexError):
            raise self.unusable("a certificate that cannot be read") from None
        if not _may_sign(certificate):
            raise self.unusable(f"the certificate {subject(certificate)}, which is not a CA's")
        return certificate

    def _require_in_date(self, certificate: x509.Certificate, now: datetime) -> None:
        if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
            raise self.unusable(f"a CA that is valid until {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")

    def sign(self, order: Order, authority: Authority, ca_key: SigningKey) -> CertifiedKey:
        """A fresh key for the order, certified by the CA. Where that has CAs above it, it is part of the chain.

        Raises:
            UnusableIssuerError: the key is not the CA's, or what the CA secret says of CAs above it cannot be read.
        """
        if ca_key.public_key() != authority.certificate.public_key():
            raise self.unusable(f"a private key that is not the one of {subject(authority.certificate)}")
        chain, anchor = self._above(authority)
        request = order.definition.request
        key = generate_key(request.key_algorithm)
        certificate = issue_leaf(request, key.public_key(), authority.certificate, ca_key, order.now)
        return CertifiedKey(key=key, certificate=certificate, chain=chain, anchor=anchor)

    def _above(self, authority: Authority) -> tuple[tuple[x509.Certificate, ...], x509.Certificate]:
        """The CAs that a certificate by this one chains to: intermediates and anchor. Of a root, itself."""
        try:
            anchors, intermediates = (
                from_pem(it or "") for it in (authority.secret.anchor, authority.secret.certificate_chain)
            )
        except ValueError:
            raise self.unusable("an anchor or a certificate_chain that cannot be read") from None
        if not anchors or anchors[0] == authority.certificate:
            return (), authority.certificate
        return (authority.certificate, *intermediates), anchors[0]

    def unusable(self, found: str) -> UnusableIssuerError:
        """The error that says so."""
        return UnusableIssuerError(
            where=f"issuer.ca_secret {self._reference}",
            found=found,
            expected='a secret with "kind": "ca", a CA certificate that is in date, and its private key',
            remedy="Name the CA secret in issuer.ca_secret, see that it has the stack's tag, or rotate it once so that"
            " its CA is made.",
        )


def require_within(order: Order, ca: x509.Certificate, remedy: str) -> None:
    """See that what is ordered ends before the CA does (RFC 5280 leaves it to us: relying parties check both).

    Raises:
        ValidityBeyondIssuerError: it would not.
    """
    # Certificates end at whole seconds: a CA that was made a moment later, for this very order, ends in the same one.
    ends = order.now.replace(microsecond=0) + order.definition.request.validity
    if ends > ca.not_valid_after_utc:
        raise ValidityBeyondIssuerError(
            where=order.where,
            found=f"a validity of {_span(order)}, until {ends:%Y-%m-%d %H:%M} UTC",
            expected=f"no longer than the CA {subject(ca)}, until {ca.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
            remedy=f"Ask for {(ca.not_valid_after_utc - order.now).days} days or fewer, or {remedy}",
        )


def _span(order: Order) -> str:
    request = order.definition.request
    return f"{request.validity_hours} hours" if request.validity_hours else f"{request.validity.days} days"


def _may_sign(certificate: x509.Certificate) -> bool:
    """Whether the certificate may issue others (RFC 5280, sections 4.2.1.3 and 4.2.1.9)."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return False
    return constraints.ca and usage.key_cert_sign
