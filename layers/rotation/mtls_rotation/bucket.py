"""The bucket: which object lies under which key, and how each is read and written. Public certificates only.

truststore.pem                                   what the gateway reads
anchors/managed/<sha256>.pem                     CA certificates that rotation issues from
anchors/static/<any name>                        bundles that operators and partners upload
issued/<anchor sha256>/<secret>/<version id>.pem issued certificates: which version hangs on which anchor
    (.ca.pem for a CA's own certificate)
outside/<secret>/<version id>.pem                issued certificates that no gateway of ours is to trust
requested/<key sha256>/<secret>.csr              what somebody else is to sign; .json beside it says what was asked for
signed/<any name>                                what they signed, uploaded by an operator
accepted/<key sha256>.pem                        what of that fits, for createSecret to take
state/retiring.json                              since when each anchor that is on its way out has been unused
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mtls_rotation.errors import SupersededError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

TRUSTSTORE = "truststore.pem"
MANAGED_ANCHORS = "anchors/managed/"
STATIC_ANCHORS = "anchors/static/"
ISSUED = "issued/"
OUTSIDE = "outside/"
REQUESTED = "requested/"
SIGNED = "signed/"
ACCEPTED = "accepted/"
RETIRING = "state/retiring.json"

_PEM = "application/x-pem-file"


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing shows it."""

    key: str
    etag: str
    modified: datetime


@dataclass(frozen=True, slots=True)
class Stored:
    """An object's content at one version."""

    body: bytes
    etag: str
    version_id: str


def managed_anchor_key(fingerprint: str) -> str:
    """Where the CA certificate with this SHA-256 fingerprint lies."""
    return f"{MANAGED_ANCHORS}{fingerprint}.pem"


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """The key of an issued certificate: which version hangs on which anchor.

    Attributes:
        anchor: the fingerprint of a CA certificate that it hangs on, at whatever height of its chain.
        authority: whether it is a CA's own certificate.
    """

    anchor: str
    secret: str
    version_id: str
    authority: bool = False

    def __str__(self) -> str:
        return f"{ISSUED}{self.anchor}/{self.secret}/{self.version_id}{'.ca' if self.authority else ''}.pem"

    @classmethod
    def parse(cls, key: str) -> IssuedKey | None:
        """What a key says; None if it is not one of an issued certificate. Secrets' names may hold "/"."""
        anchor, slash, rest = key.removeprefix(ISSUED).partition("/")
        secret, last_slash, file = rest.rpartition("/")
        if not (key.startswith(ISSUED) and slash and last_slash and secret and file.endswith(".pem")):
            return None
        version = file.removesuffix(".pem")
        return cls(anchor, secret, version.removesuffix(".ca"), authority=version.endswith(".ca"))


def outside_key(secret: str, version_id: str) -> str:
    """Where the certificate of a version lies that no gateway of ours is to trust."""
    return f"{OUTSIDE}{secret}/{version_id}.pem"


def requested_key(public_key: str, secret: str, suffix: str) -> str:
    """Where a signing request lies, under the fingerprint of its public key; `suffix` is "csr" or "json"."""
    return f"{REQUESTED}{public_key}/{secret}.{suffix}"


def accepted_key(public_key: str) -> str:
    """Where the signed certificate of a public key lies once it was found fit."""
    return f"{ACCEPTED}{public_key}.pem"


class CertificateBucket:
    """Reads and writes the bucket."""

    def __init__(self, client: S3Client, name: str) -> None:
        self._client = client
        self.name = name

    @property
    def truststore_uri(self) -> str:
        """The truststore as API Gateway names it."""
        return f"s3://{self.name}/{TRUSTSTORE}"

    def list(self, prefix: str) -> Iterator[Listed]:
        """Every object under `prefix`; one call for each thousand."""
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
            for entry in page.get("Contents", []):
                yield Listed(entry["Key"], entry["ETag"], entry["LastModified"])

    def read(self, key: str, version_id: str | None = None) -> Stored | None:
        """An object, or None if there is no such object or version."""
        extra: dict[str, Any] = {"VersionId": version_id} if version_id else {}
        try:
            answer = self._client.get_object(Bucket=self.name, Key=key, **extra)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "NoSuchVersion", "404"}:
                return None
            raise
        return Stored(answer["Body"].read(), answer["ETag"], answer.get("VersionId", "null"))

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

    def replace(self, key: str, body: bytes, previous: Stored | None) -> Stored:
        """Write an object on the condition that it still is `previous` (None: that there is none).

        Raises:
            SupersededError: someone else wrote it in the meantime.
        """
        condition: dict[str, Any] = {"IfMatch": previous.etag} if previous else {"IfNoneMatch": "*"}
        try:
            answer = self._client.put_object(Bucket=self.name, Key=key, Body=body, ContentType=_PEM, **condition)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"PreconditionFailed", "ConditionalRequestConflict"}:
                raise
            raise self._superseded(key, f"the version {previous.version_id}" if previous else "no object") from None
        return Stored(body, answer["ETag"], answer["VersionId"])

    def delete(self, key: str) -> None:
        """Delete an object; nothing happens if there is none."""
        self._client.delete_object(Bucket=self.name, Key=key)

    def _superseded(self, key: str, expected: str) -> SupersededError:
        return SupersededError(
            where=f"s3://{self.name}/{key}",
            found="an object that someone else wrote in the meantime",
            expected=expected,
            remedy="Nothing to do: it is looked at afresh and tried again.",
        )
