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
    from collections.abc import Callable

    from mypy_boto3_acm_pca import ACMPCAClient

    from mtls_rotation.aws.bucket import CertificateBucket
    from mtls_rotation.aws.bus import EventBus
    from mtls_rotation.aws.kms import SigningKeys
    from mtls_rotation.aws.secret_versions import SecretVersions
    from mtls_rotation.issuers.api import Issuer


class Issuers:
    """Makes the issuer that a secret names.

    Args:
        versions: Secrets Manager.
        bucket: where signing requests are published.
        bus: where they are announced.
        signing_keys: KMS, made when it is first needed.
        private_ca: the client of AWS Private CA, likewise.
    """

    def __init__(
        self,
        versions: SecretVersions,
        bucket: CertificateBucket,
        bus: EventBus,
        signing_keys: Callable[[], SigningKeys],
        private_ca: Callable[[], ACMPCAClient],
    ) -> None:
        self._versions = versions
        self._bucket = bucket
        self._bus = bus
        self._signing_keys = signing_keys
        self._private_ca = private_ca

    def of(self, secret: ManagedSecret) -> Issuer:
        """A fresh issuer for one order."""
        match secret.issuer:
            case SecretsManagerIssuerReference(ca_secret=ca_secret):
                from mtls_rotation.issuers.secretsmanager import SecretsManagerIssuer

                return SecretsManagerIssuer(ca_secret, self._versions)
            case KmsIssuerReference() as reference:
                from mtls_rotation.issuers.kms import KmsIssuer

                return KmsIssuer(reference, self._versions, self._signing_keys())
            case AcmPcaIssuerReference(certificate_authority_arn=arn):
                from mtls_rotation.issuers.acm_pca import AcmPcaIssuer

                return AcmPcaIssuer(arn, self._private_ca())
            case SelfSignedIssuerReference():
                from mtls_rotation.issuers.self_signed import SelfSignedIssuer

                return SelfSignedIssuer()
            case ExternalIssuerReference() as reference:
                from mtls_rotation.issuers.external.issuer import ExternalIssuer

                return ExternalIssuer(reference, self._versions, self._bucket, self._bus)
            case other:
                assert_never(other)
