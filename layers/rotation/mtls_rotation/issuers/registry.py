"""Which issuer a secret names. The one place that knows them all; each is imported when it is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from mtls_rotation.contract.secret import (
    AcmPcaIssuerReference,
    ExternalIssuerReference,
    KmsIssuerReference,
    ManagedSecret,
    SecretsManagerIssuerReference,
    SelfSignedIssuerReference,
)
from mtls_rotation.errors import UnusableIssuerError

if TYPE_CHECKING:
    from mtls_rotation.aws.services import Services
    from mtls_rotation.issuers.api import Issuer
    from mtls_rotation.pki.certificates import SigningKey

_MAKERS_OF_CAS = (SelfSignedIssuerReference(type="self-signed"), KmsIssuerReference(type="kms"))


class Issuers:
    """Makes the issuer that a secret names."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def of(self, secret: ManagedSecret) -> Issuer:
        """A fresh issuer for one order."""
        match secret.issuer:
            case SecretsManagerIssuerReference(ca_secret=ca_secret):
                from mtls_rotation.issuers.secretsmanager import SecretsManagerIssuer

                return SecretsManagerIssuer(ca_secret, self._services.versions)
            case KmsIssuerReference() as reference:
                from mtls_rotation.issuers.kms import KmsIssuer

                return KmsIssuer(reference, self._services.versions, self._services.signing_keys)
            case AcmPcaIssuerReference(certificate_authority_arn=arn):
                from mtls_rotation.issuers.acm_pca import AcmPcaIssuer

                return AcmPcaIssuer(arn, self._services.clients.of("acm-pca"))
            case SelfSignedIssuerReference():
                from mtls_rotation.issuers.self_signed import SelfSignedIssuer

                return SelfSignedIssuer()
            case ExternalIssuerReference() as reference:
                from mtls_rotation.issuers.external.issuer import ExternalIssuer

                return ExternalIssuer(reference, self._services)
            case other:
                assert_never(other)

    def signing_key(self, ca: ManagedSecret, where: str) -> SigningKey:
        """The key of the CA in a CA secret, from the issuer that keeps it.

        That is mostly the one that the secret names; it is another where `issuer` was changed and no CA made since.

        Args:
            ca: what the CA secret holds.
            where: what to call the secret in an error.

        Raises:
            UnusableIssuerError: no issuer keeps it.
        """
        from mtls_rotation.issuers.api import Signer

        named = self.of(ca)
        others = (self.of(ca.model_copy(update={"issuer": it})) for it in _MAKERS_OF_CAS if it.type != ca.issuer.type)
        for issuer in (named, *others):
            if isinstance(issuer, Signer) and issuer.keeps_key_of(ca):
                return issuer.signing_key(ca, where)
        raise UnusableIssuerError(
            where=where,
            found="a CA without private_key and without key_id",
            expected="the value that createSecret puts",
            remedy="Rotate the CA secret.",
        )
