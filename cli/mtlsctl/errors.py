"""What a command cannot do, each with a code that the runbook lists. What AWS refuses has AWS's own code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtls_rotation.errors import MtlsRotationError

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError


class StackNotFoundError(MtlsRotationError):
    """There is no such stack in this account and region, or it is not one of mtls-rotation."""

    code = "MTLS-401"


class UnknownSecretError(MtlsRotationError):
    """No secret of that name carries the stack's tag."""

    code = "MTLS-402"


class InvalidInputError(MtlsRotationError):
    """An option or a file says something that cannot be done. Nothing was made or changed."""

    code = "MTLS-403"


class NameTakenError(MtlsRotationError):
    """What is to be made is there already."""

    code = "MTLS-404"


class StillUnderWayError(MtlsRotationError):
    """What was waited for did not come within the time given; it goes on by itself."""

    code = "MTLS-405"
    retryable = True


class NoCertificateError(MtlsRotationError):
    """The secret holds no certificate at that label (yet)."""

    code = "MTLS-406"


class UnusableCertificateError(MtlsRotationError):
    """A certificate that is to be imported is one that servers would refuse, or has not come with all that it needs."""

    code = "MTLS-407"


class NotConfirmedError(MtlsRotationError):
    """The operator did not confirm it, or no operator was there to ask. Nothing was done."""

    code = "MTLS-408"


class FileNotWrittenError(MtlsRotationError):
    """The file could not be written. Nothing of it was left behind."""

    code = "MTLS-409"


class AwsError(MtlsRotationError):
    """AWS refused a call or could not be reached. The code is AWS's own."""

    def __init__(self, code: str, *, where: str, found: str, expected: str, remedy: str) -> None:
        self.code = code  # type: ignore[misc]  # each has its own
        super().__init__(where=where, found=found, expected=expected, remedy=remedy)


# SNS has a code of its own, and what has no body, as S3's answer to HeadObject, has the status for a code.
DENIALS = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationError", "403"})
# Calls about one secret. One that is gone has no tags, so credentials that are bound to a tag are denied it.
_OF_A_SECRET = frozenset(
    {"DescribeSecret", "GetSecretValue", "PutSecretValue", "RotateSecret", "UpdateSecretVersionStage", "DeleteSecret"}
)
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"})


def from_aws(error: ClientError | BotoCoreError) -> AwsError:
    """What botocore raised, in an operator's words.

    Args:
        error: it quotes no secret value: botocore's texts hold the service's message and the call's name.
    """
    from botocore.exceptions import ClientError  # what asks no AWS starts without it

    if isinstance(error, ClientError):
        code, message = error.response["Error"].get("Code", "Unknown"), error.response["Error"].get("Message", "")
        if code in DENIALS:
            remedy = "Use credentials that may do this; docs/mtlsctl.md lists what each command calls."
            if error.operation_name in _OF_A_SECRET:
                remedy += " If they are bound to the stack's tag, it may be gone or without it: AWS does not say."
        elif code in _EXPIRED:
            remedy = "Log in again, or name another profile with --profile."
        else:
            remedy = "Try again; if it goes on, look the code up in the service's API reference."
        return AwsError(
            f"AWS.{code}", where=error.operation_name, found=message or code, expected="an answer", remedy=remedy
        )
    return AwsError(
        f"AWS.{type(error).__name__}",
        where="the call to AWS",
        found=str(error),
        expected="credentials, a region and a service that answers",
        remedy="See --profile, --region and --endpoint-url; they mean what they mean to the AWS CLI.",
    )
