"""Where the secret is asked for: Secrets Manager, through boto3. What to make of an answer is decided elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from mtls_client.errors import InvalidSecretError, MissingExtraError, MtlsClientError, SecretUnavailableError
from mtls_client.forking import renew_after_fork

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_secretsmanager import SecretsManagerClient

_CURRENT = "AWSCURRENT"
# A check is made by a request that is on its way, so it must end soon. Seconds.
_CONNECT_TIMEOUT = 2
_READ_TIMEOUT = 5
_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """One version of the secret with its value."""

    version_id: str
    value: str = field(repr=False)


class Source(Protocol):
    """Whatever keeps the secret."""

    @property
    def secret(self) -> str:
        """The secret's name or ARN, as it was given."""

    def current_version(self) -> str:
        """Which version is the current one, without reading a value.

        Raises:
            SecretUnavailableError: it cannot be told now.
        """

    def read(self, version_id: str | None = None) -> SecretVersion:
        """The current version with its value.

        Args:
            version_id: the version that `current_version` named; None for whichever is current.

        Raises:
            SecretUnavailableError: it cannot be read now, or that version is not visible as the current one yet.
            InvalidSecretError: it holds no text.
        """

    def close(self) -> None:
        """Let go of connections; the next call makes new ones."""


class SecretsManagerSource:
    """AWS Secrets Manager.

    Args:
        secret: name or ARN. With an ARN, the region is the ARN's.
        client: boto3's client for Secrets Manager; None makes one when it is first needed.
    """

    def __init__(self, secret: str, client: SecretsManagerClient | None = None) -> None:
        self.secret = secret
        self._given = client
        self._made: SecretsManagerClient | None = None
        renew_after_fork(self)

    def current_version(self) -> str:
        """See `Source`. One DescribeSecret."""
        answer = self._ask("DescribeSecret", lambda client: client.describe_secret(SecretId=self.secret))
        for version_id, stages in answer.get("VersionIdsToStages", {}).items():
            if _CURRENT in stages:
                return str(version_id)
        raise self._unavailable("DescribeSecret", f"no version at {_CURRENT}")

    def read(self, version_id: str | None = None) -> SecretVersion:
        """See `Source`. One GetSecretValue."""
        which = {"VersionId": version_id} if version_id else {}
        answer = self._ask(
            "GetSecretValue",
            lambda client: client.get_secret_value(SecretId=self.secret, VersionStage=_CURRENT, **which),
        )
        found = str(answer["VersionId"])
        if version_id and found != version_id:
            raise self._unavailable("GetSecretValue", f"version {found} in place of version {version_id}")
        if "SecretString" not in answer:
            raise InvalidSecretError(
                where=f"secret {self.secret}, version {found}",
                found="a binary value",
                expected="JSON text",
                remedy="Store it as a string.",
            )
        return SecretVersion(found, answer["SecretString"])

    def close(self) -> None:
        """See `Source`. A client that was handed in is left open."""
        made, self._made = self._made, None
        if made is not None:
            made.close()

    def after_fork(self) -> None:
        """See `forking`. The connections that were made are the parent's."""
        self._made = None

    def _ask(self, operation: str, call: Callable[[SecretsManagerClient], Any]) -> Any:
        try:
            return call(self._client())
        except MtlsClientError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the last good certificate is to serve
            found = _in_words(error)
        raise self._unavailable(operation, found)

    def _unavailable(self, operation: str, found: str) -> SecretUnavailableError:
        return SecretUnavailableError(
            where=f"{operation} of secret {self.secret}",
            found=found,
            expected=f"the version at {_CURRENT}",
            remedy="It is tried again by itself. If it lasts: does the secret exist, may this role call "
            "DescribeSecret and GetSecretValue on it and decrypt with its key, and is there a way to the endpoint?",
        )

    def _client(self) -> SecretsManagerClient:
        if self._given is not None:
            return self._given
        if self._made is None:
            self._made = self._make()
        return self._made

    def _make(self) -> SecretsManagerClient:
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            raise MissingExtraError(
                where=f"secret {self.secret}",
                found="no boto3",
                expected="the extra 'boto3'",
                remedy="Install mtls-client[boto3], or hand in a client.",
            ) from None
        config = Config(
            connect_timeout=_CONNECT_TIMEOUT,
            read_timeout=_READ_TIMEOUT,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        )
        # A session of our own: boto3's default one must not be used by two threads at once.
        return boto3.session.Session().client("secretsmanager", region_name=_region(self.secret), config=config)


def _region(secret: str) -> str | None:
    """The region in an ARN; None for a name."""
    parts = secret.split(":")
    return parts[3] if parts[0] == "arn" and len(parts) > 3 else None


def _in_words(error: Exception) -> str:
    """What AWS says when it refuses; of any other error the type alone, as its text may quote the answer."""
    response = getattr(error, "response", None)
    refusal = response.get("Error") if isinstance(response, dict) else None
    if not refusal:
        return type(error).__name__
    return f"{refusal.get('Code', 'an error')} ({refusal.get('Message', 'no message')})"
