"""Secrets Manager as rotation sees it: the versions of a secret and the staging labels on them.

Every read there is eventually consistent, so a version that was just written may not be found for a while. What to
make of that is decided by the caller; `await_version` asks again until a deadline.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import batched
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mtls_rotation.aws.retries import denied
from mtls_rotation.contract.labels import AWSCURRENT, AWSPENDING, UNTESTED
from mtls_rotation.errors import NotYetVisibleError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_secretsmanager.type_defs import FilterTypeDef

    from mtls_rotation.timing import Deadline

log = logging.getLogger(__name__)

# How many values a filter of ListSecrets takes.
# https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_Filter.html
_VALUES = 10

HIDDEN = "a secret that is gone, without the tag that permissions depend on, or may not be used: AWS does not say which"


@dataclass(frozen=True, slots=True)
class SecretDescription:
    """A secret without its values.

    Attributes:
        stages: version id → the staging labels attached to it.
        deleted: whether it is marked for deletion.
        tags: by key.
        function: the ARN of the function that rotates it; empty where none is said.
    """

    arn: str
    name: str
    rotation_enabled: bool
    stages: dict[str, frozenset[str]]
    deleted: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    function: str = ""

    def version_at(self, label: str) -> str | None:
        """The id of the version that carries `label`."""
        return next((version for version, labels in self.stages.items() if label in labels), None)


class RotationStart(Enum):
    """What asking for a rotation came to. Out of reach: see `out_of_reach`."""

    STARTED = auto()
    UNDER_WAY = auto()
    REFUSED = auto()
    OUT_OF_REACH = auto()


def out_of_reach(error: ClientError) -> str | None:
    """Why a secret cannot be had, in words; None if the error does not say that.

    A secret that is gone has no tags. So a role whose permissions depend on a tag is answered AccessDeniedException for
    it, never ResourceNotFoundException, and cannot tell it from one that it may not touch.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-resourcetag
    """
    if _code(error) == "ResourceNotFoundException":
        return "no such secret, or one without a value"
    if denied(error):
        return f"{HIDDEN} ({_code(error)}: {error.response['Error'].get('Message', '')})"
    return None


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """One version with its value. The value holds a private key, so it is left out of `repr`.

    Attributes:
        created: when it was made; None of what was not read.
    """

    arn: str
    name: str
    version_id: str
    stages: frozenset[str]
    value: str
    created: datetime | None = None

    def __repr__(self) -> str:
        return f"SecretVersion({self.name}, {self.version_id}, {sorted(self.stages)})"


class SecretVersions:
    """Reads and moves the versions of secrets."""

    def __init__(self, client: SecretsManagerClient) -> None:
        self._client = client

    def describe(self, secret_id: str) -> SecretDescription:
        """The secret's labels and whether it rotates, as Secrets Manager shows them now."""
        answer = self._client.describe_secret(SecretId=secret_id)
        return SecretDescription(
            arn=answer["ARN"],
            name=answer["Name"],
            rotation_enabled=answer.get("RotationEnabled", False),
            stages={version: frozenset(labels) for version, labels in answer.get("VersionIdsToStages", {}).items()},
            deleted="DeletedDate" in answer,
            tags=_tags(answer),
            function=answer.get("RotationLambdaARN", ""),
        )

    def list_tagged(self, tag: str, value: str) -> Iterator[SecretDescription]:
        """Every secret with this tag, those in their recovery window included. May lag by five minutes.

        https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html
        """
        for it in self._list({"Key": "tag-key", "Values": [tag]}):
            # The filter matches by prefix and whatever the case; the tag itself is compared exactly.
            if it.tags.get(tag) == value:
                yield it

    def list_named(self, names: Collection[str]) -> Iterator[SecretDescription]:
        """The secrets of these names, whatever their tags; a call for each ten. May lag as well."""
        for batch in batched(sorted(names), _VALUES, strict=False):
            # The filter matches by prefix.
            yield from (it for it in self._list({"Key": "name", "Values": list(batch)}) if it.name in names)

    def list_all(self) -> Iterator[SecretDescription]:
        """Every secret of the account, whatever its tags. May lag as well."""
        return self._list()

    def _list(self, *filters: FilterTypeDef) -> Iterator[SecretDescription]:
        pages = self._client.get_paginator("list_secrets").paginate(
            IncludePlannedDeletion=True, Filters=list(filters), PaginationConfig={"PageSize": 100}
        )
        for page in pages:
            for entry in page["SecretList"]:
                stages = entry.get("SecretVersionsToStages", {})
                yield SecretDescription(
                    arn=entry["ARN"],
                    name=entry["Name"],
                    rotation_enabled=entry.get("RotationEnabled", False),
                    stages={version: frozenset(labels) for version, labels in stages.items()},
                    deleted="DeletedDate" in entry,
                    tags=_tags(entry),
                    function=entry.get("RotationLambdaARN", ""),
                )

    def current(self, secret_id: str) -> SecretVersion | None:
        """The version at AWSCURRENT, or None if the secret does not exist or has no value."""
        return self._read(SecretId=secret_id, VersionStage=AWSCURRENT)

    def at(self, secret_id: str, label: str) -> SecretVersion | None:
        """The version that carries `label`, or None if there is none, or none that can be seen yet."""
        return self._read(SecretId=secret_id, VersionStage=label)

    def version(self, secret_id: str, version_id: str) -> SecretVersion | None:
        """The version `version_id`, or None if it has no value, or none that can be seen yet."""
        return self._read(SecretId=secret_id, VersionId=version_id)

    def await_version(self, secret_id: str, version_id: str, deadline: Deadline) -> SecretVersion:
        """The version `version_id`, waited for until it can be seen.

        Raises:
            NotYetVisibleError: it could not be seen by the deadline.
        """
        for _ in deadline.attempts():
            if version := self.version(secret_id, version_id):
                return version
        raise NotYetVisibleError(
            where=f"secret {secret_id}, version {version_id}",
            found="no value",
            expected="the value that createSecret puts",
            remedy="Secrets Manager tries the rotation again by itself. If it goes on, rotate the secret anew.",
        )

    def put_pending(self, secret_id: str, version_id: str, value: str, rotation_token: str | None) -> bool:
        """Put `value` at AWSPENDING as the version `version_id`, with the label of what is yet to be tested.

        A label that another version has is moved: what a cancelled rotation left is no concern any more.

        Returns:
            False if that version already holds another value, which then stands.
        """
        extra: dict[str, Any] = {"RotationToken": rotation_token} if rotation_token else {}
        return self._put(
            SecretId=secret_id,
            ClientRequestToken=version_id,
            SecretString=value,
            VersionStages=[AWSPENDING, UNTESTED],
            **extra,
        )

    def put_current(self, secret_id: str, version_id: str, value: str) -> bool:
        """Put `value` at AWSCURRENT as the version `version_id`. Returns as `put_pending`."""
        return self._put(SecretId=secret_id, ClientRequestToken=version_id, SecretString=value)

    def put_labelled(self, secret_id: str, version_id: str, value: str, label: str) -> bool:
        """Put `value` as the version `version_id` with a label of our own. Returns as `put_pending`."""
        return self._put(SecretId=secret_id, ClientRequestToken=version_id, SecretString=value, VersionStages=[label])

    def move_label(self, secret_id: str, label: str, old: str | None, new: str | None) -> None:
        """Take `label` off the version `old` and attach it to `new`; None for neither."""
        extra: dict[str, Any] = {"RemoveFromVersionId": old} if old else {}
        if new:
            extra["MoveToVersionId"] = new
        self._client.update_secret_version_stage(SecretId=secret_id, VersionStage=label, **extra)

    def rotate(self, secret_id: str) -> RotationStart:
        """Have Secrets Manager rotate a secret now. A rotation that is under way is taken up again, with its token.

        https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html
        """
        try:
            # Immediately is the default, too. That it is said lets permissions depend on it.
            self._client.rotate_secret(SecretId=secret_id, RotateImmediately=True)
        except ClientError as error:
            if out_of_reach(error):
                log.warning("cannot be rotated", extra={"secret": secret_id, "reason": out_of_reach(error)})
                return RotationStart.OUT_OF_REACH
            if _code(error) != "InvalidRequestException":
                raise
            unfinished = "previous rotation" in error.response["Error"].get("Message", "").lower()
            return RotationStart.UNDER_WAY if unfinished else RotationStart.REFUSED
        return RotationStart.STARTED

    def make_current(self, description: SecretDescription, version_id: str) -> None:
        """Move AWSCURRENT to `version_id`; Secrets Manager moves AWSPREVIOUS to the version that had it."""
        held_by = description.version_at(AWSCURRENT)
        extra: dict[str, Any] = {"RemoveFromVersionId": held_by} if held_by else {}
        self._client.update_secret_version_stage(
            SecretId=description.arn, VersionStage=AWSCURRENT, MoveToVersionId=version_id, **extra
        )

    def drop_pending(self, secret_id: str, version_id: str) -> None:
        """Take AWSPENDING off `version_id`; nothing happens if it is not there any more."""
        self.drop_label(secret_id, AWSPENDING, version_id)

    def drop_label(self, secret_id: str, label: str, version_id: str) -> None:
        """Take `label` off `version_id`; nothing happens if it is not there any more."""
        try:
            self._client.update_secret_version_stage(
                SecretId=secret_id, VersionStage=label, RemoveFromVersionId=version_id
            )
        except ClientError as error:
            if _code(error) != "InvalidParameterException":
                raise

    def _read(self, **which: Any) -> SecretVersion | None:
        try:
            answer = self._client.get_secret_value(**which)
        except ClientError as error:
            if _code(error) == "ResourceNotFoundException":
                return None
            raise
        value: str | None = answer.get("SecretString")
        if value is None:
            return None
        return SecretVersion(
            arn=answer["ARN"],
            name=answer["Name"],
            version_id=answer["VersionId"],
            stages=frozenset(answer.get("VersionStages", [])),
            value=value,
            created=answer.get("CreatedDate"),
        )

    def _put(self, **request: Any) -> bool:
        try:
            self._client.put_secret_value(**request)
        except ClientError as error:
            if _code(error) == "ResourceExistsException":
                return False
            raise
        return True


def _code(error: ClientError) -> str:
    return error.response["Error"]["Code"]


def _tags(answer: Mapping[str, Any]) -> dict[str, str]:
    return {it["Key"]: it["Value"] for it in answer.get("Tags", ())}
