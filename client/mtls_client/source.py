"""Where the secret is asked for. What to make of an answer is decided elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from mtls_client.errors import InvalidSecretError, SecretUnavailableError


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """One version of the secret with its value."""

    version_id: str
    value: str = field(repr=False)


class Source(Protocol):
    """Whatever keeps secrets. Safe to be used by threads, but is asked by one at a time."""

    def current_version(self, secret: str, *, fresh: bool = False) -> str:
        """Which version is the current one, at the least cost.

        Args:
            secret: name or ARN.
            fresh: whether a cache on the way is to be passed by, as far as it lets itself be.

        Raises:
            SecretUnavailableError: it cannot be told now.
        """

    def read(self, secret: str, version_id: str | None = None) -> SecretVersion:
        """The current version with its value.

        Args:
            secret: name or ARN.
            version_id: the version that `current_version` named; None for whichever is current.

        Raises:
            SecretUnavailableError: it cannot be read now, or that version is not visible as the current one yet.
            InvalidSecretError: it holds no text.
        """

    def close(self) -> None:
        """Let go of connections; the next call makes new ones."""


def unavailable(secret: str, operation: str, found: str) -> SecretUnavailableError:
    """The error of a source that does not have it now."""
    return SecretUnavailableError(
        where=f"{operation} of secret {secret}",
        found=found,
        expected="the version at AWSCURRENT",
        remedy="It is tried again by itself. If it lasts: does the secret exist, may this role call "
        "DescribeSecret and GetSecretValue on it and decrypt with its key, and is there a way to the endpoint?",
    )


def binary(secret: str, version_id: str) -> InvalidSecretError:
    """The error of a version without text."""
    return InvalidSecretError(
        where=f"secret {secret}, version {version_id}",
        found="a binary value",
        expected="JSON text",
        remedy="Store it as a string.",
    )
