"""Filing everything anew from the secrets, where the bucket was emptied or edited. It reads their values.

A secret's tag gives no identity: whoever may make and tag secrets would have a CA of theirs trusted by a rebuild. So
the CAs that a value names are filed only where createSecret would issue below them to that secret. What the version
chains to is filed all the same: a CA that is trusted already stays for it, and no other is trusted by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mtls_rotation.aws.certificate_index import CertificateIndex
from mtls_rotation.aws.secret_versions import out_of_reach
from mtls_rotation.aws.stack_secrets import secrets_of
from mtls_rotation.contract.issuance import Secret
from mtls_rotation.contract.labels import HELD_LABELS, end_of_issuing
from mtls_rotation.contract.layout import MANAGED_ANCHORS
from mtls_rotation.contract.material import certificates_of
from mtls_rotation.errors import InvalidSecretError, MtlsRotationError, UnusableIssuerError
from mtls_rotation.issuers.api import Order, Vouching
from mtls_rotation.issuers.registry import Issuers
from mtls_rotation.rotation import filing
from mtls_rotation.rotation.admission import require_listed
from mtls_rotation.rotation.value import parse_value
from mtls_rotation.timing import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mtls_rotation.aws.secret_versions import SecretDescription
    from mtls_rotation.aws.services import Services
    from mtls_rotation.contract.secret import ManagedSecret

# Seconds that an issuer is given to say what it has signed.
_ASKED_FOR = 15.0


@dataclass(frozen=True, slots=True)
class FiledVersion:
    """What came of a version.

    Attributes:
        labels: on it.
        written: the keys of the objects that were missing or another's; empty where everything was there.
        problem: why it could not be filed; empty if it could.
        unusable: whether that is for its value, which no rotation put, and none can be made from.
    """

    secret: str
    version_id: str
    labels: frozenset[str]
    written: tuple[str, ...] = ()
    problem: str = ""
    unusable: bool = False


class Rebuild:
    """Makes the index anew: of each version that counts, what it chains to, and the CAs themselves."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._issuers = Issuers(services)
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
            value = parse_value(stored.value, f"secret {secret.name}")
            objects = filing.objects_of(value, secret.name, version_id)
            problem = self._why_not_vouched_for(value, secret, version_id)
            authorities = {key for key in objects if problem and key.startswith(MANAGED_ANCHORS)}
            missing = any(self._put(key, objects[key], write=False) for key in sorted(authorities))
            written = tuple(
                key for key, body in objects.items() if key not in authorities and self._put(key, body, write=write)
            )
        except MtlsRotationError as error:
            unusable = isinstance(error, InvalidSecretError)
            return FiledVersion(secret.name, version_id, labels, problem=str(error), unusable=unusable)
        except ValueError:
            return FiledVersion(
                secret.name, version_id, labels, problem="its certificate cannot be read", unusable=True
            )
        except ClientError as error:
            if secret.deleted and error.response["Error"]["Code"] == "InvalidRequestException":
                return FiledVersion(secret.name, version_id, labels, problem="it is marked for deletion")
            if reason := out_of_reach(error):
                return FiledVersion(secret.name, version_id, labels, problem=reason)
            raise
        return FiledVersion(secret.name, version_id, labels, written, problem if missing else "")

    def _why_not_vouched_for(self, value: ManagedSecret, secret: SecretDescription, version_id: str) -> str:
        """Why the CAs that a value names are not filed; empty if they are.

        As createSecret looks at a pending value that it finds.
        """
        if not value.issued or not value.gateway_trusts:
            return ""
        issuance, asking = self._services.issuance, Secret(secret.name, secret.arn)
        try:
            require_listed(issuance, value, asking)
            issuer = self._issuers.of(value)
            if value.kind == "ca" or issuance.is_trusted(asking) or not isinstance(issuer, Vouching):
                return ""
            (leaf, *_), _ = certificates_of(value)
            now, deadline = self._services.clock(), Deadline.within(_ASKED_FOR)
            if issuer.has_issued(Order(value, secret.arn, secret.name, version_id, now, deadline), leaf):
                return ""
        except UnusableIssuerError as error:
            return f"its CA is not filed, as nobody can tell whether it has signed it: {error}"
        except MtlsRotationError as error:
            return f"its CA is not filed: {error}"
        return "its CA is not filed: it is not by the CA that its issuer names, nor by the one before"

    def _put(self, key: str, body: str, *, write: bool) -> bool:
        """Write an object that is missing or another's; whether it was."""
        stored = self._bucket.read(key)
        if stored is not None and stored.body == body.encode():
            return False
        if write:
            self._bucket.put(key, body.encode(), content_type="application/x-pem-file")
        return True
