"""AWS Secrets Manager as the source, through boto3."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from mtls_client.errors import MissingExtraError, MtlsClientError
from mtls_client.forking import renew_after_fork
from mtls_client.source import SecretVersion, binary, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_secretsmanager import SecretsManagerClient

_CURRENT = "AWSCURRENT"
# A request without a certificate waits for a check, so it must end soon: after 18 s at worst. Secrets Manager answers
# in some hundredths of a second. One that is silent for three seconds will say nothing more, and a program that has
# just started is better served by one more attempt than by a longer wait.
_CONNECT_TIMEOUT = 2
_READ_TIMEOUT = 3
_ATTEMPTS = 3


class SecretsManagerSource:
    """AWS Secrets Manager.

    Args:
        client: boto3's client for Secrets Manager; by default one is made when it is first needed, with short
            time-outs, for the region of the secret's ARN, or of the environment. In a child process made by fork, a
            client that was handed in is shared with the parent, which boto3 does not promise to be safe.
    """

    def __init__(self, client: SecretsManagerClient | None = None) -> None:
        self._given = client
        self._made: dict[str | None, SecretsManagerClient] = {}
        renew_after_fork(self)

    def current_version(self, secret: str, *, fresh: bool = False) -> str:
        """See `Source`. One DescribeSecret."""
        answer = self._ask(secret, "DescribeSecret", lambda client: client.describe_secret(SecretId=secret))
        for version_id, stages in answer.get("VersionIdsToStages", {}).items():
            if _CURRENT in stages:
                return str(version_id)
        raise unavailable(secret, "DescribeSecret", f"no version at {_CURRENT}")

    def read(self, secret: str, version_id: str | None = None) -> SecretVersion:
        """See `Source`. One GetSecretValue."""
        which = {"VersionId": version_id} if version_id else {}
        answer = self._ask(
            secret,
            "GetSecretValue",
            lambda client: client.get_secret_value(SecretId=secret, VersionStage=_CURRENT, **which),
        )
        found = str(answer["VersionId"])
        if version_id and found != version_id:
            raise unavailable(secret, "GetSecretValue", f"version {found} in place of version {version_id}")
        if "SecretString" not in answer:
            raise binary(secret, found)
        return SecretVersion(found, answer["SecretString"])

    def close(self) -> None:
        """See `Source`. A client that was handed in is left open."""
        made, self._made = self._made, {}
        for client in made.values():
            client.close()

    def after_fork(self) -> None:
        """See `forking`. The connections that were made are the parent's."""
        self._made = {}

    def _ask(self, secret: str, operation: str, call: Callable[[SecretsManagerClient], Any]) -> Any:
        try:
            return call(self._client(_region(secret)))
        except MtlsClientError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the last good certificate is to serve
            found = _in_words(error)
        raise unavailable(secret, operation, found)

    def _client(self, region: str | None) -> SecretsManagerClient:
        if self._given is not None:
            return self._given
        if region not in self._made:
            self._made[region] = _make(region)
        return self._made[region]


def _make(region: str | None) -> SecretsManagerClient:
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise MissingExtraError(
            where="Secrets Manager",
            found="no boto3",
            expected="the extra 'boto3'",
            remedy="Install mtls-client[boto3], or hand in a client or another source.",
        ) from None
    config = Config(
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=_READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
    )
    # A session of our own: boto3's default one must not be used by two threads at once.
    session = boto3.session.Session()
    # Of itself boto3 looks at AWS_DEFAULT_REGION only; other SDKs, and what runs containers, know AWS_REGION.
    region = region or session.region_name or os.environ.get("AWS_REGION")
    return session.client("secretsmanager", region_name=region, config=config)


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
