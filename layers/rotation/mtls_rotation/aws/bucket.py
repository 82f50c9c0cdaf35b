"""The bucket: reads and writes its objects. Which lies where is in `layout`."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

from mtls_rotation.aws.retries import denied
from mtls_rotation.contract.layout import TRUSTSTORE
from mtls_rotation.errors import SupersededError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

_MARK = {"written-by": "mtls-rotation"}
_IN_PLACE_OF = "in-place-of"
# The id of what was written while the bucket kept no versions.
NO_VERSION = "null"
_PEM = "application/x-pem-file"
# How often an object is asked for whose content breaks off.
_READS = 3


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing shows it."""

    key: str
    etag: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Stored:
    """An object's content at one version.

    Attributes:
        ours: whether `replace` wrote it; what somebody else wrote carries no mark.
        in_place_of: the version that `replace` wrote it over; empty where there was none.
        modified: when it was written; None of what was written just now.
    """

    body: bytes
    etag: str
    version_id: str
    ours: bool = True
    in_place_of: str = ""
    modified: datetime | None = None


def why_withheld(error: ClientError) -> str:
    """Why S3 does not hand out an object that is there, in words.

    What is archived has to be restored first, and what is encrypted with a key can be read by whoever may use the key:
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """
    code = error.response["Error"]["Code"]
    if code == "InvalidObjectState":
        return "it is archived, and S3 does not hand it out before it is restored"
    asked = "; is it encrypted with a key that this role may not use?" if denied(error) or "KMS" in code else ""
    return f"S3 does not hand it out: {code}{asked}"


class CertificateBucket:
    """Reads and writes the bucket."""

    def __init__(self, client: S3Client, name: str) -> None:
        self._client = client
        self.name = name

    @property
    def truststore_uri(self) -> str:
        """The truststore as API Gateway names it."""
        return self.uri(TRUSTSTORE)

    def uri(self, key: str) -> str:
        """An object of the bucket, by its URI."""
        return f"s3://{self.name}/{key}"

    def key_of(self, uri: str) -> str | None:
        """The key of an object, from its URI; None if it is none of this bucket."""
        key = uri.removeprefix(self.uri(""))
        return key if key != uri else None

    def list(self, prefix: str) -> Iterator[Listed]:
        """Every object under `prefix`; one call for each thousand."""
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
            for entry in page.get("Contents", []):
                yield Listed(entry["Key"], entry["ETag"], entry["Size"], entry["LastModified"])

    def versions(self, key: str) -> Iterator[str]:
        """The versions of an object, the newest first. Marks of its deletion are none.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
        """
        for page in self._client.get_paginator("list_object_versions").paginate(Bucket=self.name, Prefix=key):
            for entry in page.get("Versions", []):
                if entry["Key"] != key:
                    return  # the keys come in order, and this one is the first that has it for a prefix
                yield entry["VersionId"]

    def read(self, key: str, version_id: str | None = None) -> Stored | None:
        """An object, or None if there is no such object or version."""
        extra: dict[str, Any] = {"VersionId": version_id} if version_id else {}
        try:
            return self._get(Key=key, **extra)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "NoSuchVersion", "404"}:
                return None
            raise

    def newer(self, key: str, known: Stored | None) -> Stored | None:
        """An object, read only if it is no longer `known`; None if there is no such object."""
        if known is None:
            return self.read(key)
        try:
            return self._get(Key=key, IfNoneMatch=known.etag)
        except ClientError as error:
            match error.response["Error"]["Code"]:
                case "304" | "NotModified":
                    return known
                case "NoSuchKey" | "404":
                    return None
                case _:
                    raise

    def look_up(self, key: str) -> Listed | None:
        """An object as a listing shows it; None if there is no such object."""
        first = next(self.list(key), None)
        return first if first and first.key == key else None

    def put_once(self, key: str, pem: str) -> None:
        """Write a certificate whose key names its content; an object that is there already stays as it is.

        Raises:
            SupersededError: someone else is writing it at this moment.
        """
        try:
            self._client.put_object(Bucket=self.name, Key=key, Body=pem.encode(), ContentType=_PEM, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalRequestConflict":
                raise self._superseded(key, "no other writer") from None
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise

    def replace(self, key: str, body: bytes, previous: Stored | None, *, content_type: str = _PEM) -> Stored:
        """Write an object on the condition that it still is `previous` (None: that there is none).

        https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html

        Raises:
            SupersededError: someone else wrote it in the meantime, or deleted it.
        """
        condition: dict[str, Any] = {"IfMatch": previous.etag} if previous else {"IfNoneMatch": "*"}
        before = previous.version_id if previous else ""
        mark = {**_MARK, _IN_PLACE_OF: before} if before else _MARK
        try:
            answer = self._client.put_object(
                Bucket=self.name, Key=key, Body=body, ContentType=content_type, Metadata=mark, **condition
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}:
                raise
            raise self._superseded(key, f"the version {previous.version_id}" if previous else "no object") from None
        # Where versioning is suspended, S3 names no version, or "null": the next write is over it.
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/AddingObjectstoVersionSuspendedBuckets.html
        return Stored(body, answer["ETag"], answer.get("VersionId", NO_VERSION), in_place_of=before)

    def put(self, key: str, body: bytes, *, content_type: str) -> None:
        """Write an object, whatever is there."""
        self._client.put_object(Bucket=self.name, Key=key, Body=body, ContentType=content_type)

    def newest(self, key: str) -> str | None:
        """The id of an object's newest version; None if there is no such object."""
        try:
            return self._client.head_object(Bucket=self.name, Key=key).get("VersionId", NO_VERSION)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                return None
            raise

    @property
    def keeps_versions(self) -> bool:
        """Whether what is written now has a version of its own."""
        return self._client.get_bucket_versioning(Bucket=self.name).get("Status") == "Enabled"

    def delete_all(self, keys: Sequence[str]) -> None:
        """Delete up to a thousand objects in one call. What cannot be deleted stays, and is logged."""
        answer = self._client.delete_objects(
            Bucket=self.name, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
        )
        for error in answer.get("Errors", []):
            log.warning("could not delete", extra={"key": error.get("Key"), "code": error.get("Code")})

    def delete(self, key: str) -> None:
        """Delete an object; nothing happens if there is none."""
        self._client.delete_object(Bucket=self.name, Key=key)

    def _get(self, **which: Any) -> Stored:
        """An object with its content. One that breaks off is asked for again: the SDK does that for the head alone."""
        for attempt in itertools.count(1):
            answer = self._client.get_object(Bucket=self.name, **which)
            try:
                body = answer["Body"].read()
            except (HTTPClientError, IncompleteReadError):
                if attempt == _READS:
                    raise
                log.info("an object's content broke off", extra={"key": which["Key"], "attempt": attempt})
            else:
                metadata = answer.get("Metadata", {})
                return Stored(
                    body,
                    answer["ETag"],
                    answer.get("VersionId", NO_VERSION),
                    ours=_MARK.items() <= metadata.items(),
                    in_place_of=metadata.get(_IN_PLACE_OF, ""),
                    modified=answer.get("LastModified"),
                )
        raise AssertionError("it counts for ever")

    def _superseded(self, key: str, expected: str) -> SupersededError:
        return SupersededError(
            where=f"s3://{self.name}/{key}",
            found="an object that someone else wrote or deleted in the meantime",
            expected=expected,
            remedy="Nothing to do: it is looked at afresh and tried again.",
        )
