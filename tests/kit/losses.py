"""What is lost or changed in a stack's bucket by hands that have rights to it."""

from __future__ import annotations

from tests.kit.stack import BUCKET, Stack


def lose(stack: Stack, *prefixes: str) -> None:
    """Delete what lies under these, as `aws s3 rm --recursive` does: older versions stay. Everything without any."""
    for prefix in prefixes or ("",):
        for entry in list(stack.bucket.list(prefix)):
            stack.clients.s3.delete_object(Bucket=BUCKET, Key=entry.key)


def destroy(stack: Stack, *prefixes: str) -> None:
    """Delete every version of it, as the console's "Empty" does."""
    for prefix in prefixes or ("",):
        answer = stack.clients.s3.list_object_versions(Bucket=BUCKET, Prefix=prefix)
        for entry in (*answer.get("Versions", ()), *answer.get("DeleteMarkers", ())):
            stack.clients.s3.delete_object(Bucket=BUCKET, Key=entry["Key"], VersionId=entry["VersionId"])


def overwrite(stack: Stack, key: str, body: bytes = b"garbage") -> None:
    """Write something else over an object."""
    stack.clients.s3.put_object(Bucket=BUCKET, Key=key, Body=body)


def bring_back(stack: Stack, key: str, back: int = 1) -> None:
    """Copy an older version of an object over it, with its metadata, as tools do that restore."""
    listed = stack.clients.s3.list_object_versions(Bucket=BUCKET, Prefix=key)["Versions"]
    versions = [it["VersionId"] for it in listed if it["Key"] == key]
    source = {"Bucket": BUCKET, "Key": key, "VersionId": versions[back]}
    stack.clients.s3.copy_object(Bucket=BUCKET, Key=key, CopySource=source)


def strip_the_tag(stack: Stack, secret: str) -> None:
    """Take the stack's tag off a secret, as a tag policy or a clean-up may."""
    stack.clients.secretsmanager.untag_resource(SecretId=secret, TagKeys=["mtls-rotation:stack"])


def suspend_versioning(stack: Stack, status: str = "Suspended") -> None:
    """Have the bucket keep no versions any more; "Enabled" has it keep them again."""
    stack.clients.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": status})
