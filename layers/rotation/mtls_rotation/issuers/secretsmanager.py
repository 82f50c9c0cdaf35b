"""The issuer whose CA key and certificate live in a Secrets Manager secret: the embedded default."""

from datetime import datetime, timedelta

from cryptography import x509

from mtls_rotation.errors import InvalidSecretError, UnusableIssuerError, ValidityBeyondIssuerError
from mtls_rotation.pki.certificates import (
    CertifiedKey,
    SigningKey,
    from_pem,
    generate_key,
    issue_leaf,
    key_from_pem,
    subject,
)
from mtls_rotation.secret import ManagedSecret, SecretsManagerIssuerReference
from mtls_rotation.versions import SecretVersions


class SecretsManagerIssuer:
    """Signs with the CA at AWSCURRENT of a CA secret."""

    def __init__(self, reference: SecretsManagerIssuerReference, versions: SecretVersions) -> None:
        self._reference = reference
        self._versions = versions

    def issue(self, secret: ManagedSecret, where: str, now: datetime) -> CertifiedKey:
        """A fresh key, certified by the CA. See `Issuer.issue`."""
        ca, ca_key = self._load_ca(now)
        ends = now + timedelta(days=secret.request.validity_days)
        if ends > ca.not_valid_after_utc:
            whole_days = (ca.not_valid_after_utc - now).days
            raise ValidityBeyondIssuerError(
                where=where,
                found=f"request.validity_days = {secret.request.validity_days}, until {ends:%Y-%m-%d %H:%M} UTC",
                expected=f"no longer than the CA {subject(ca)}, until {ca.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
                remedy=f"Ask for {whole_days} days or fewer, or rotate the CA {self._reference.ca_secret} first.",
            )
        key = generate_key(secret.request.key_algorithm)
        certificate = issue_leaf(secret.request, key.public_key(), ca, ca_key, now)
        return CertifiedKey(key=key, certificate=certificate, chain=(), anchor=ca)

    def _load_ca(self, now: datetime) -> tuple[x509.Certificate, SigningKey]:
        name = self._reference.ca_secret
        version = self._versions.current(name)
        if version is None:
            raise self._unusable("no such secret, or one without a value")
        try:
            ca_secret = ManagedSecret.parse(version.value, name)
        except InvalidSecretError as error:
            raise self._unusable(f"{error.found} ({error.code})") from None
        if ca_secret.kind != "ca" or ca_secret.certificate is None or ca_secret.private_key is None:
            raise self._unusable("a secret that holds no CA")
        try:
            certificate = from_pem(ca_secret.certificate)[0]
            key = key_from_pem(ca_secret.private_key.get_secret_value())
        except (ValueError, IndexError):
            raise self._unusable("a certificate or private key that cannot be read") from None
        if not _may_sign(certificate):
            raise self._unusable(f"the certificate {subject(certificate)}, which is not a CA's")
        if key.public_key() != certificate.public_key():
            raise self._unusable(f"a private key that is not the one of {subject(certificate)}")
        if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
            raise self._unusable(f"a CA that is valid until {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
        return certificate, key

    def _unusable(self, found: str) -> UnusableIssuerError:
        return UnusableIssuerError(
            where=f"issuer.ca_secret {self._reference.ca_secret}",
            found=found,
            expected='a secret with "kind": "ca", a CA certificate that is in date, and its private key',
            remedy="Name the CA secret in issuer.ca_secret, or rotate it once so that its CA is made.",
        )


def _may_sign(certificate: x509.Certificate) -> bool:
    """Whether the certificate may issue others (RFC 5280, sections 4.2.1.3 and 4.2.1.9)."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return False
    return constraints.ca and usage.key_cert_sign
