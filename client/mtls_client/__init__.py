"""mTLS client certificates at run time: from AWS Secrets Manager into memory, and picked up without a restart.

Importing this is cheap: boto3, httpx, cryptography and ssl are imported when they are first needed.
"""

from mtls_client.certificate import ClientCertificate
from mtls_client.credential import Credential
from mtls_client.errors import (
    ExpiredCertificateError,
    InvalidSecretError,
    InvalidServerCaError,
    MissingExtraError,
    MtlsClientError,
    NotYetValidCertificateError,
    RefusedRedirectError,
    SecretUnavailableError,
    UnsupportedPlatformError,
)
from mtls_client.loopback import AgentSource, LambdaExtensionSource
from mtls_client.secrets_manager import SecretsManagerSource
from mtls_client.source import SecretVersion, Source
from mtls_client.status import Status

__all__ = [
    "AgentSource",
    "ClientCertificate",
    "Credential",
    "ExpiredCertificateError",
    "InvalidSecretError",
    "InvalidServerCaError",
    "LambdaExtensionSource",
    "MissingExtraError",
    "MtlsClientError",
    "NotYetValidCertificateError",
    "RefusedRedirectError",
    "SecretUnavailableError",
    "SecretVersion",
    "SecretsManagerSource",
    "Source",
    "Status",
    "UnsupportedPlatformError",
]
