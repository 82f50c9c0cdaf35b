"""Every error that an operator may meet, each with a code that the runbook lists and a message that says what to do.

A message names things and dates, never a secret value: no private key can come out of here.
"""

from typing import ClassVar

# More than anybody reads of one part of a message. Logs and events have an end, and a partner's certificate none.
_LONGEST = 2000


def shown(text: str) -> str:
    """A text as an error may hold it: not endless, and with no character that moves a terminal, whoever chose it."""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}... ({len(text)} characters)"
    return text if text.isprintable() else "".join(it if it.isprintable() else ascii(it)[1:-1] for it in text)


class MtlsRotationError(Exception):
    """Something that rotation, truststore sync or bootstrap could not do.

    Attributes:
        code: short and stable; `docs/operations.md` has a section for it.
        retryable: True where the same call may succeed later with nobody having changed anything.
    """

    code: ClassVar[str]
    retryable: ClassVar[bool] = False

    def __init__(self, *, where: str, found: str, expected: str, remedy: str) -> None:
        self.where, self.found = shown(where), shown(found)
        self.expected, self.remedy = shown(expected), shown(remedy)
        super().__init__(f"{self.code} {self.where}: found {self.found}; expected {self.expected}. {self.remedy}")


class InvalidEventError(MtlsRotationError):
    """The event that invoked the function is not one that it understands."""

    code = "MTLS-100"


class InvalidSecretError(MtlsRotationError):
    """The secret's value is not a client or CA secret."""

    code = "MTLS-101"


class UnusableIssuerError(MtlsRotationError):
    """The issuer that the secret names cannot sign: it does not exist, holds no CA, or its CA has expired."""

    code = "MTLS-102"


class ValidityBeyondIssuerError(MtlsRotationError):
    """The certificate that is asked for would outlive the CA that is to sign it."""

    code = "MTLS-103"


class VersionNotStagedError(MtlsRotationError):
    """The rotation's token is not a version at AWSPENDING."""

    code = "MTLS-104"


class RotationNotEnabledError(MtlsRotationError):
    """The secret has no rotation switched on."""

    code = "MTLS-105"


class RejectedCertificateError(MtlsRotationError):
    """The pending certificate fails a check that needs no network: chain, key, purpose or dates."""

    code = "MTLS-106"


class InvalidSettingsError(MtlsRotationError):
    """The function's own environment or the custom resource's properties are wrong."""

    code = "MTLS-107"


class UnfitCertificateError(MtlsRotationError):
    """A certificate that somebody else signed does not fit the key or the request that it was to be made for."""

    code = "MTLS-108"


class UnusableNoticeError(MtlsRotationError):
    """What was uploaded under `revoked/` names no certificate that can be revoked."""

    code = "MTLS-109"


class UnresolvedNoticeError(UnusableNoticeError):
    """It names a certificate by a CA that is not known here, or not for certain."""


class SelfSignedClientError(MtlsRotationError):
    """A certificate that signs itself is asked for at a gateway, of which nobody knows whether it accepts such."""

    code = "MTLS-110"


class UnentitledRequestError(MtlsRotationError):
    """A secret asks for a subject or a name that its CA may not issue to it."""

    code = "MTLS-111"


class UnlistedAuthorityError(MtlsRotationError):
    """A certificate would bring an anchor into the truststore that neither the stack made nor its operator listed."""

    code = "MTLS-112"


class NotYetVisibleError(MtlsRotationError):
    """Secrets Manager has not shown a write that was made: its reads are eventually consistent."""

    code = "MTLS-201"
    retryable = True


class TruststoreNotDeployedError(MtlsRotationError):
    """The gateway did not come to trust the pending certificate's anchor within the step's time."""

    code = "MTLS-202"
    retryable = True


class HandshakeFailedError(MtlsRotationError):
    """The endpoint did not accept the pending certificate within the step's time."""

    code = "MTLS-203"
    retryable = True


class SupersededError(MtlsRotationError):
    """Another run changed the same thing at the same time; what it left is to be looked at afresh."""

    code = "MTLS-204"
    retryable = True


class OutOfTimeError(MtlsRotationError):
    """The step has no time left to do what remains; nothing was half written."""

    code = "MTLS-205"
    retryable = True


class AuthorityRotatingError(MtlsRotationError):
    """The CA would expire before the certificate that is asked for, so it is being rotated first."""

    code = "MTLS-206"
    retryable = True


class WaitingForCertificateError(MtlsRotationError):
    """The certificate signing request is out; the rotation goes on when the signed certificate comes."""

    code = "MTLS-207"
    retryable = True


class RevocationUnknownError(MtlsRotationError):
    """The revocation list could not be read for longer than it may be relied on, so nobody can be let in."""

    code = "MTLS-208"
    retryable = True


class KeyNotUsableYetError(MtlsRotationError):
    """A KMS key that was made a moment ago cannot be used yet: not all of AWS knows of it, or of its tags."""

    code = "MTLS-209"
    retryable = True


class UntestedVersionError(MtlsRotationError):
    """finishSecret was called for a version that testSecret has not passed."""

    code = "MTLS-210"
    retryable = True


class TruststoreGuardError(MtlsRotationError):
    """The truststore that was planned is not safe to publish. What is deployed was left alone."""

    code = "MTLS-301"


class DomainBusyError(MtlsRotationError):
    """API Gateway takes no update of the domain name now: it is updating, or the account's rate is used up.

    Attributes:
        retry_after: seconds to wait before the next try.
    """

    code = "MTLS-302"
    retryable = True

    def __init__(self, *, where: str, found: str, retry_after: int, remedy: str = "") -> None:
        self.retry_after = retry_after
        super().__init__(
            where=where,
            found=found,
            expected="a domain name that is AVAILABLE, and one UpdateDomainName in 30 seconds",
            remedy=remedy or f"Nothing to do: it is tried again in {retry_after} s.",
        )


class UnusableDomainError(MtlsRotationError):
    """The custom domain name does not exist, or has no mutual TLS."""

    code = "MTLS-303"


class VersioningSuspendedError(MtlsRotationError):
    """The bucket keeps no versions, and a domain name is told a version of the truststore. What runs stays."""

    code = "MTLS-305"

    def __init__(self, *, where: str, found: str) -> None:
        super().__init__(
            where=where,
            found=found,
            expected="a bucket that keeps versions: a domain name is told which of the truststore's it is to run",
            remedy="Have the bucket keep versions again (`aws s3api put-bucket-versioning --bucket BUCKET"
            " --versioning-configuration Status=Enabled`), then `mtlsctl truststore sync`. What runs stays until then.",
        )


class DomainNotAvailableError(MtlsRotationError):
    """API Gateway takes no update of the domain name before somebody has mended it, and says why in its status."""

    code = "MTLS-304"
    retryable = True

    def __init__(self, *, where: str, found: str) -> None:
        super().__init__(
            where=where,
            found=found,
            expected="a domain name that is AVAILABLE",
            remedy="Mend what its status names, such as a certificate. It is tried again every few minutes by itself.",
        )


def code_of(error: BaseException) -> str:
    """The code under which the runbook explains an error; AWS's own where AWS refused a call."""
    if isinstance(error, MtlsRotationError):
        return error.code
    response = getattr(error, "response", None)
    return f"AWS.{response['Error']['Code']}" if isinstance(response, dict) else type(error).__name__
