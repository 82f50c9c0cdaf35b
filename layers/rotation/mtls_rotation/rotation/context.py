"""What every step is made from, and what the steps read alike: a secret's labels, and the version of their token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mtls_rotation.aws.secret_versions import out_of_reach
from mtls_rotation.contract.labels import AWSCURRENT, AWSPENDING
from mtls_rotation.contract.tags import STACK_TAG
from mtls_rotation.errors import InvalidEventError, NotYetVisibleError, VersionNotStagedError
from mtls_rotation.rotation.filing import certified

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mtls_rotation.aws.secret_versions import SecretDescription, SecretVersion
    from mtls_rotation.aws.services import Services
    from mtls_rotation.contract.secret import ManagedSecret
    from mtls_rotation.issuers.registry import Issuers
    from mtls_rotation.rotation.admission import Admission
    from mtls_rotation.rotation.memory import Memory
    from mtls_rotation.rotation.request import RotationRequest
    from mtls_rotation.targets.api import Target
    from mtls_rotation.timing import Deadline

# Seconds that a step waits for Secrets Manager to show a write.
VISIBILITY = 15.0


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a step works with.

    Attributes:
        targets: what must trust a certificate before clients get it.
        memory: of the execution environment.
        admission: what is known of the gateways.
    """

    services: Services
    targets: Iterable[Target]
    issuers: Issuers
    memory: Memory
    admission: Admission

    def visibility(self, deadline: Deadline) -> Deadline:
        """Until when to wait for Secrets Manager to show a write."""
        return deadline.sooner(VISIBILITY)

    def describe(self, secret_id: str) -> SecretDescription:
        """The secret's labels.

        Raises:
            InvalidEventError: there is no such secret, or none that is this stack's.
        """
        try:
            return self.services.versions.describe(secret_id)
        except ClientError as error:
            if (reason := out_of_reach(error)) is None:
                raise
            raise InvalidEventError(
                where=f"the event's SecretId {secret_id}",
                found=reason,
                expected=f"a secret that exists in this account and region, with the tag {STACK_TAG} of this stack",
                remedy="Check the ARN; the secret may have been deleted. If it is there, give it the tag.",
            ) from None

    def secret(self, request: RotationRequest, deadline: Deadline) -> ManagedSecret:
        """What the token's version holds, as this environment knows it from a step before, or else read.

        Without its private key where it is known. Where it is read, it must have a label.
        """
        known = self.memory.secret(request)
        if known is None:
            known = certified(self.pending(request, deadline))
            self.memory.keep(request, known)
        return known

    def pending(self, request: RotationRequest, deadline: Deadline) -> SecretVersion:
        """The token's version with its value, at AWSPENDING or, in a repeat, at AWSCURRENT already.

        Raises:
            VersionNotStagedError: the version has neither label.
            NotYetVisibleError: it has one, and no value can be seen.
        """
        versions = self.services.versions
        try:
            stored = versions.await_version(request.secret_id, request.version_id, self.visibility(deadline))
        except NotYetVisibleError:
            description = self.describe(request.secret_id)
            labels = description.stages.get(request.version_id, frozenset())
            if AWSPENDING not in labels:
                raise not_staged(description.name, request.version_id, labels) from None
            raise
        if not stored.stages & {AWSPENDING, AWSCURRENT}:
            raise not_staged(stored.name, request.version_id, stored.stages)
        return stored


def not_staged(name: str, version_id: str, labels: frozenset[str]) -> VersionNotStagedError:
    """The error of a step whose token's version has these labels, and not AWSPENDING."""
    return VersionNotStagedError(
        where=f"secret {name}, version {version_id}",
        found=f"the labels {', '.join(sorted(labels))}" if labels else "no such version with a label",
        expected="the version at AWSPENDING",
        remedy="This token is of no rotation that is under way. Start one with"
        f" `aws secretsmanager rotate-secret --secret-id {name}`.",
    )
