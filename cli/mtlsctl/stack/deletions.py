"""What was uploaded and is deleted now: a versioned bucket keeps a marker of each deletion, and what lay below it.

No secret holds what operators and partners upload, so nothing but its older version brings it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from shlex import quote
from typing import TYPE_CHECKING

from mtls_rotation.contract import layout
from mtlsctl.errors import DENIALS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from mypy_boto3_s3 import S3Client

UPLOADS = (layout.STATIC_ANCHORS, layout.DISTRUSTED_ANCHORS, layout.REVOKED)
# Who deletes on purpose deletes one. What goes within a minute of another was emptied.
_AT_ONCE = timedelta(minutes=1)
# How long it is told: what nobody has brought back by then is meant to be gone.
_TOLD = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Deletion:
    """A delete marker, as S3 keeps one: https://docs.aws.amazon.com/AmazonS3/latest/userguide/DeleteMarker.html .

    Attributes:
        version_id: of the marker; to delete that brings the object back.
        latest: whether the object is gone now.
    """

    key: str
    version_id: str
    at: datetime
    latest: bool = True

    def undo(self, bucket: str) -> str:
        """The command that brings it back."""
        return (
            f"aws s3api delete-object --bucket {bucket} --key {quote(self.key)} --version-id {quote(self.version_id)}"
        )


def deletions(s3: S3Client, bucket: str) -> tuple[Deletion, ...] | None:
    """Every deletion of an upload and of the truststore that the bucket remembers; None where that may not be asked."""
    from botocore.exceptions import ClientError  # what asks no AWS starts without it

    try:
        return tuple(it for prefix in (*UPLOADS, layout.TRUSTSTORE) for it in _below(s3, bucket, prefix))
    except ClientError as error:
        if error.response["Error"]["Code"] not in DENIALS:
            raise
        return None


def emptied(found: Iterable[Deletion], now: datetime) -> list[Deletion]:
    """The uploads that are gone, and went together with the truststore, lately: nobody does that on purpose. Pure."""
    everything = list(found)
    return [
        it
        for it in everything
        if it.latest
        and it.key.startswith(UPLOADS)
        and now - it.at < _TOLD
        and any(other.key == layout.TRUSTSTORE and abs(other.at - it.at) <= _AT_ONCE for other in everything)
    ]


def _below(s3: S3Client, bucket: str, prefix: str) -> Iterator[Deletion]:
    following: dict[str, str] = {}
    while True:
        page = s3.list_object_versions(Bucket=bucket, Prefix=prefix, **following)  # type: ignore[arg-type]
        for it in page.get("DeleteMarkers", []):
            yield Deletion(it["Key"], it["VersionId"], it["LastModified"], it["IsLatest"])
        if not page.get("IsTruncated"):
            return
        following = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
