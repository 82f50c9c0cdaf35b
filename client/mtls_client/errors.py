"""Every error that the client raises by itself, each with a message that says what to do.

A message names things and dates, never a secret value. For the same reason no error has a cause: what json,
cryptography or botocore raise may quote what they read.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable


# More than anybody reads of one part of a message.
_LONGEST = 2000


def shown(text: str) -> str:
    """A text as an error may hold it: not endless, and with no character that moves a terminal, whoever chose it."""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}... ({len(text)} characters)"
    return text if text.isprintable() else "".join(it if it.isprintable() else ascii(it)[1:-1] for it in text)


class MtlsClientError(Exception):
    """There is no certificate to work with, or it cannot be put to use.

    Attributes:
        code: short and stable; `docs/operations.md` has a section for it.
        retryable: True where the same call may succeed later with nobody having changed anything.
        where: the secret, the version or the place in the program that this is about.
        found: what was there.
        expected: what should have been there.
        remedy: what to do.
    """

    code: ClassVar[str]
    retryable: ClassVar[bool] = False

    def __init__(self, *, where: str, found: str, expected: str, remedy: str) -> None:
        self.where, self.found = shown(where), shown(found)
        self.expected, self.remedy = shown(expected), shown(remedy)
        super().__init__(f"{self.code} {self.where}: found {self.found}; expected {self.expected}. {self.remedy}")

    def __reduce__(self) -> tuple[Callable[[], MtlsClientError], tuple[Any, ...]]:
        members = {"where": self.where, "found": self.found, "expected": self.expected, "remedy": self.remedy}
        return partial(type(self), **members), ()


class SecretUnavailableError(MtlsClientError):
    """Secrets Manager could not be reached, refused, or does not show the version yet."""

    code = "MTLS-501"
    retryable = True


class InvalidSecretError(MtlsClientError):
    """The secret's value is no certificate with its private key."""

    code = "MTLS-502"


class NotYetValidCertificateError(MtlsClientError):
    """The certificate's validity has not begun."""

    code = "MTLS-503"
    retryable = True


class ExpiredCertificateError(MtlsClientError):
    """The newest certificate that could be had has expired."""

    code = "MTLS-504"
    retryable = True


class InvalidServerCaError(MtlsClientError):
    """What was given as the server's CA is no PEM certificate."""

    code = "MTLS-505"


class UnsupportedPlatformError(MtlsClientError):
    """The platform offers no way to hand a key to OpenSSL without a disk."""

    code = "MTLS-506"


class MissingExtraError(MtlsClientError, ImportError):
    """A library that is an extra of this package is not installed."""

    code = "MTLS-507"


class RefusedRedirectError(MtlsClientError):
    """A redirect would have taken a request's body to another origin."""

    code = "MTLS-508"
