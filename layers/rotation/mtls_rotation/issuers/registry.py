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

if TYPE_CHECKING:
    from mtls_rotation.aws.services import Services
    from mtls_rotation.issuers.api import Issuer


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
