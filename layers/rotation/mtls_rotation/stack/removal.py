"""What is done when the stack is deleted and its data is to go too, which has to be asked for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mtls_rotation.errors import OutOfTimeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient

    from mtls_rotation.timing import Deadline

log = logging.getLogger(__name__)

# The shortest that Secrets Manager takes. Until then a secret can be restored, and its name is taken.
RECOVERY_DAYS = 7
# Seconds to let a function end that still writes.
_SETTLING = 1.0
# InvalidRequestException: it is marked for deletion already.
_GONE = frozenset({"NoSuchBucket", "ResourceNotFoundException", "InvalidRequestException"})


class Removal:
    """Deletes the bucket with all that is in it, and has the stack's own secrets deleted."""

    def __init__(self, s3: S3Client, secrets_manager: SecretsManagerClient, bucket: str) -> None:
        self._s3 = s3
        self._secrets_manager = secrets_manager
        self._bucket = bucket

    def run(self, secrets: Iterable[str], deadline: Deadline) -> None:
        """Delete. What is gone already is passed over, so a repeat goes on where the last run ended.

        Args:
            secrets: the secrets' ARNs or names.
            deadline: until when.

        Raises:
            OutOfTimeError: there is more in the bucket than could be deleted by then.
        """
        for secret in secrets:
            self._delete_secret(secret)
        try:
            self._delete_bucket(deadline)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise
        log.info("removed", extra={"bucket": self._bucket})

    def _delete_bucket(self, deadline: Deadline) -> None:
        """Delete it when it is empty. The stack's other functions hear of what is deleted, and may yet write."""
        while True:
            self._empty(deadline)
            try:
                self._s3.delete_bucket(Bucket=self._bucket)
            except ClientError as error:
                if error.response["Error"]["Code"] != "BucketNotEmpty":
                    raise
                deadline.sleep(_SETTLING)
            else:
                return

    def _delete_secret(self, secret: str) -> None:
        try:
            self._secrets_manager.delete_secret(SecretId=secret, RecoveryWindowInDays=RECOVERY_DAYS)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise

    def _empty(self, deadline: Deadline) -> None:
        """Delete every version of every object, a thousand in a call."""
        for page in self._s3.get_paginator("list_object_versions").paginate(Bucket=self._bucket):
            if not deadline.remaining():
                raise OutOfTimeError(
                    where=f"bucket {self._bucket}",
                    found="more objects than could be deleted in the time there was",
                    expected="an empty bucket",
                    remedy="Delete the stack again: it goes on where it ended.",
                )
            found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            if found:
                self._s3.delete_objects(
                    Bucket=self._bucket,
                    Delete={
                        "Objects": [{"Key": it["Key"], "VersionId": it["VersionId"]} for it in found],
                        "Quiet": True,
                    },
                )
