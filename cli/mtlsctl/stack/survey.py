"""What is there, without reading a secret: the stack's secrets and labels, public certificates, truststores, targets.

Certificates come from the bucket, where rotation files each public one. That takes no permission to read a private
key.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509

from mtls_rotation.aws.certificate_index import CertificateIndex, FiledCertificate
from mtls_rotation.contract import layout
from mtls_rotation.contract.labels import AWSCURRENT, AWSPENDING, AWSPREVIOUS, SIGNING_REQUEST
from mtls_rotation.contract.tags import KIND_TAG, STACK_TAG
from mtls_rotation.pki.certificates import serial
from mtls_rotation.timing import utc_now
from mtls_rotation.truststore.plan import Why
from mtlsctl.errors import DENIALS
from mtlsctl.stack.deletions import deletions, emptied
from mtlsctl.stack.targets import targets_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from mypy_boto3_secretsmanager.type_defs import DescribeSecretResponseTypeDef

    from mtls_rotation.truststore.plan import Plan
    from mtls_rotation.truststore.sync import Preview
    from mtlsctl.stack.deletions import Deletion
    from mtlsctl.stack.deployment import Deployment
    from mtlsctl.stack.targets import Target

# Calls at once. Secrets Manager takes thousands of DescribeSecret a second; this is what one machine has in flight.
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Filed:
    """A version's public certificate as the bucket holds it.

    Attributes:
        anchors: the fingerprints of the CA certificates that it chains to, from the key; none where it is "outside".
    """

    certificate: x509.Certificate
    anchors: frozenset[str]


@dataclass(frozen=True, slots=True)
class SecretState:
    """A secret and what is filed for it.

    Attributes:
        stages: version id → the staging labels on it.
        current: what is filed for AWSCURRENT; None if nothing is.
        function: the ARN of the function that rotates it; empty if none does.
        tagged_as_ca: whether its tags say that it is a CA's.
        pending_since: since when a version has been at AWSPENDING and not at AWSCURRENT; None if none is.
        unsigned: whether a signing request of its waits for an external CA's answer.
        previous: what is filed for AWSPREVIOUS, which clients hold for a while; None if nothing is.
        edited: the keys of objects that hold another certificate than they say, or none.
    """

    arn: str
    name: str
    kind: str
    tagged_as_ca: bool
    rotation_enabled: bool
    function: str
    schedule: str
    last_rotated: datetime | None
    next_rotation: datetime | None
    stages: Mapping[str, frozenset[str]]
    deleted: bool
    current: Filed | None
    pending_since: datetime | None
    unsigned: bool = False
    previous: Filed | None = None
    edited: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """All of it at one moment.

    Attributes:
        preview: what a sync would do now.
        unpublished_since: for each anchor that a sync would add now, since when there has been a reason for it.
        keeps_versions: whether the bucket does; None where that may not be asked.
        emptied: the uploads that were deleted together.
    """

    stack: str
    bucket: str
    now: datetime
    secrets: tuple[SecretState, ...]
    targets: tuple[Target, ...]
    preview: Preview
    unpublished_since: Mapping[str, datetime] = field(default_factory=dict)
    keeps_versions: bool | None = True
    emptied: tuple[Deletion, ...] = ()


class Surveyor:
    """Looks at a deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._bucket = deployment.services.bucket
        self._secrets = deployment.session.client("secretsmanager")

    def survey(self) -> Survey:
        """Look at everything. Some calls for each secret, sixteen at a time; none of them reads a value."""
        names = [it.arn for it in self._deployment.services.versions.list_tagged(STACK_TAG, self._deployment.name)]
        # The listing may be minutes behind; the stack's own secrets are there for certain.
        names += [self._deployment.outputs[it] for it in ("ClientSecret", "CaSecret") if it in self._deployment.outputs]
        index = CertificateIndex.read(self._bucket)
        preview = self._deployment.assembly.sync.preview()
        names += preview.seen.untagged
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = filter(None, pool.map(lambda arn: self._secret(arn, index), dict.fromkeys(names)))
        secrets = {it.name: it for it in found}.values()
        now = utc_now()
        gone = deletions(self._deployment.session.client("s3"), self._bucket.name) or ()
        return Survey(
            stack=self._deployment.name,
            bucket=self._bucket.name,
            now=now,
            secrets=tuple(sorted(secrets, key=lambda it: (it.kind != "ca", it.name))),
            targets=targets_of(self._deployment),
            preview=preview,
            unpublished_since=self._unpublished_since(preview.plan, index),
            keeps_versions=self._keeps_versions(),
            emptied=tuple(emptied(gone, now)),
        )

    def _keeps_versions(self) -> bool | None:
        from botocore.exceptions import ClientError  # what asks no AWS starts without it

        try:
            return self._bucket.keeps_versions
        except ClientError as error:
            if error.response["Error"]["Code"] not in DENIALS:
                raise
            return None

    def _unpublished_since(self, plan: Plan, index: CertificateIndex) -> Mapping[str, datetime]:
        """The bucket tells: when a bundle was uploaded, when the first certificate below a CA was filed."""
        since: dict[str, datetime] = {}
        if not plan.added:
            return since
        uploads = {
            (name, key)
            for key in plan.added
            for reason in plan.anchors[key].reasons
            if reason.why is Why.UPLOADED
            for name in reason.names
        }
        for filed in index.issued:
            if filed.anchor in plan.added:
                since[filed.anchor] = min(filed.at, since.get(filed.anchor, filed.at))
        for entry in self._bucket.list(layout.STATIC_ANCHORS):
            for key in (key for name, key in uploads if name == entry.key):
                since[key] = min(entry.modified, since.get(key, entry.modified))
        return since

    def _secret(self, arn: str, index: CertificateIndex) -> SecretState | None:
        try:
            answer = self._secrets.describe_secret(SecretId=arn)
        except self._secrets.exceptions.ResourceNotFoundException:
            return None  # deleted since it was listed
        stages = {version: frozenset(labels) for version, labels in answer.get("VersionIdsToStages", {}).items()}
        current = next((version for version, labels in stages.items() if AWSCURRENT in labels), None)
        tags = {tag["Key"]: tag["Value"] for tag in answer.get("Tags", [])}
        previous = next((version for version, labels in stages.items() if AWSPREVIOUS in labels), None)
        filed, before = (index.of_version(answer["Name"], it) for it in (current, previous))
        certificate, edited = self._certificate(index, filed)
        older, edited_before = self._certificate(index, before)
        authority = any(it.authority for it in filed)
        return SecretState(
            arn=answer["ARN"],
            name=answer["Name"],
            kind="ca" if authority or tags.get(KIND_TAG) == "ca" else "client",
            tagged_as_ca=tags.get(KIND_TAG) == "ca",
            rotation_enabled=answer.get("RotationEnabled", False),
            function=answer.get("RotationLambdaARN", ""),
            schedule=answer.get("RotationRules", {}).get("ScheduleExpression", ""),
            last_rotated=answer.get("LastRotatedDate"),
            next_rotation=answer.get("NextRotationDate"),
            stages=stages,
            deleted="DeletedDate" in answer,
            current=certificate,
            pending_since=self._pending_since(answer, stages),
            unsigned=any(SIGNING_REQUEST in labels for labels in stages.values()),
            previous=older,
            edited=(*edited, *edited_before),
        )

    def _certificate(
        self, index: CertificateIndex, filed: Sequence[FiledCertificate]
    ) -> tuple[Filed | None, tuple[str, ...]]:
        """What is filed for a version, and the keys of what was written over."""
        anchors = frozenset(it.anchor for it in filed if it.anchor)
        edited: list[str] = []
        for it in filed:
            try:
                certificate = index.certificate(it)
            except ValueError:
                certificate = None
            if certificate is not None and serial(certificate) == it.serial_number:
                return Filed(certificate, anchors), tuple(edited)
            edited.append(it.key)
        return None, tuple(edited)

    def _pending_since(
        self, answer: DescribeSecretResponseTypeDef, stages: Mapping[str, frozenset[str]]
    ) -> datetime | None:
        pending = {version for version, labels in stages.items() if AWSPENDING in labels and AWSCURRENT not in labels}
        if not pending:
            return None
        # With labels alone: all of them are on one page.
        listed = self._secrets.list_secret_version_ids(SecretId=answer["ARN"])["Versions"]
        return next((it["CreatedDate"] for it in listed if it["VersionId"] in pending), answer.get("LastChangedDate"))
