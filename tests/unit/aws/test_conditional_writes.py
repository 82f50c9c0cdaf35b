"""What a write on a condition comes to when the object is another one by then, or gone."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.client import BaseClient

from mtls_rotation.aws.bucket import CertificateBucket, Stored
from mtls_rotation.errors import SupersededError
from tests.kit.fakes import refused

READ = Stored(b"before", '"etag"', "version")


@pytest.mark.parametrize("code", ["PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"])
def test_an_object_that_was_written_or_deleted_since_it_was_read_is_not_overwritten(
    monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """S3 answers 412, 409, and where the object was deleted 404.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html#conditional-error-response
    """

    def answered(_: BaseClient, operation: str, request: Any) -> Any:
        assert request["IfMatch"] == READ.etag
        raise refused(code, operation)

    monkeypatch.setattr(BaseClient, "_make_api_call", answered)
    bucket = CertificateBucket(boto3.client("s3", region_name="us-east-1"), "bucket")

    with pytest.raises(SupersededError):
        bucket.replace("state/sync.json", b"after", READ)
