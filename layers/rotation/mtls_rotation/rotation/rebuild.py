"""Filing everything anew from the secrets, where the bucket was emptied or edited. It reads their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mtls_rotation.aws.certificate_index import CertificateIndex
from mtls_rotation.aws.secret_versions import out_of_reach
from mtls_rotation.aws.stack_secrets import secrets_of
from mtls_rotation.contract.labels import HELD_LABELS, end_of_issuing
from mtls_rotation.errors import MtlsRotationError
from mtls_rotation.rotation import filing
from mtls_rotation.rotation.value import parse_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mtls_rotation.aws.secret_versions import SecretDescription
    from mtls_rotation.aws.services import Services


@dataclass(frozen=True, slots=True)
class FiledVersion:
    """What came of a version.

    Attributes:
        labels: on it.
        written: the keys of the objects that were missing or another's; empty where everything was there.
        problem: why it could not be filed; empty if it could.
    """

    secret: str
    version_id: str
    labels: frozenset[str]
    written: tuple[str, ...] = ()
    problem: str = ""


class Rebuild:
    """Makes the index anew: of each version that counts, what it chains to, and the CAs themselves."""

    def __init__(self, services: Services) -> None:
        self._versions = services.versions
        self._bucket = services.bucket
        self._stack = services.stack

    def secrets(self) -> list[SecretDescription]:
        """The stack's secrets, tagged or not."""
        return secrets_of(self._versions, self._stack, CertificateIndex.read(self._bucket).secrets)

    def run(self, *, write: bool = True) -> Iterator[FiledVersion]:
        """File what each version holds that a client may hold, or that issues. What is there and right stays.

        Args:
            write: whether to write at all, or only to say what would be written.
        """
        for secret in self.secrets():
            for version_id, labels in sorted(secret.stages.items()):
                if labels & HELD_LABELS or any(map(end_of_issuing, labels)):
                    yield self._file(secret, version_id, labels, write=write)

    def _file(self, secret: SecretDescription, version_id: str, labels: frozenset[str], *, write: bool) -> FiledVersion:
        try:
            stored = self._versions.version(secret.arn, version_id)
            if stored is None:
                return FiledVersion(secret.name, version_id, labels, problem="it holds no value yet")
            objects = filing.objects_of(parse_value(stored.value, f"secret {secret.name}"), secret.name, version_id)
            written = tuple(key for key, body in objects.items() if self._put(key, body, write=write))
        except MtlsRotationError as error:
            return FiledVersion(secret.name, version_id, labels, problem=str(error))
        except ValueError:
            return FiledVersion(secret.name, version_id, labels, problem="its certificate cannot be read")
        except ClientError as error:
            if secret.deleted and error.response["Error"]["Code"] == "InvalidRequestException":
                return FiledVersion(secret.name, version_id, labels, problem="it is marked for deletion")
            if reason := out_of_reach(error):
                return FiledVersion(secret.name, version_id, labels, problem=reason)
            raise
        return FiledVersion(secret.name, version_id, labels, written)

    def _put(self, key: str, body: str, *, write: bool) -> bool:
        """Write an object that is missing or another's; whether it was."""
        stored = self._bucket.read(key)
        if stored is not None and stored.body == body.encode():
            return False
        if write:
            self._bucket.put(key, body.encode(), content_type="application/x-pem-file")
        return True
