"""setSecret: wait until every target runs a truststore with the anchors of the pending certificate."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mtls_rotation.aws.retries import throttled
from mtls_rotation.contract.events import TRUSTSTORE_SYNC_REQUESTED
from mtls_rotation.contract.labels import secret_name
from mtls_rotation.contract.material import authorities_of
from mtls_rotation.errors import TruststoreNotDeployedError, VersioningSuspendedError
from mtls_rotation.pki import bundles
from mtls_rotation.pki.certificates import fingerprint
from mtls_rotation.rotation.backoff import backoff, jitter, jittered
from mtls_rotation.targets.api import anchors_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from mtls_rotation.contract.secret import ManagedSecret
    from mtls_rotation.rotation.context import StepContext
    from mtls_rotation.rotation.request import RotationRequest
    from mtls_rotation.targets.api import ObjectVersion, Target
    from mtls_rotation.timing import Deadline


# A sync takes seconds, and its queue brings it again. What was asked for longer ago may be lost: the queue was purged.
ASK_AGAIN = timedelta(minutes=5)


class TrustStep:
    """setSecret."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._bucket = context.services.bucket
        self._bus = context.services.bus
        self._clock = context.services.clock

    def run(self, request: RotationRequest, deadline: Deadline) -> None:
        """Wait for the targets, and ask the sync to publish and deploy what they lack; again, if that was lost.

        Raises:
            TruststoreNotDeployedError: a target does not run it by the deadline.
        """
        self.require(self._context.secret(request, deadline), request, deadline)

    def require(self, secret: ManagedSecret, request: RotationRequest, deadline: Deadline) -> None:
        """The same for what the version is known to hold.

        Raises:
            TruststoreNotDeployedError: a target does not run it by the deadline.
            VersioningSuspendedError: likewise, as the bucket keeps no versions.
        """
        if not secret.gateway_trusts:
            return
        anchors = frozenset(map(fingerprint, authorities_of(secret)))
        asked: datetime | None = None
        seconds = 0.0
        lacking: list[str] = []
        for _ in deadline.attempts():
            try:
                lacking = targets_without(self._context.targets, anchors, self._anchors_in)
            except ClientError as error:
                if not throttled(error):
                    raise
                seconds = backoff(seconds)
            else:
                if not lacking:
                    self._context.memory.trust(anchors, self._clock())
                    return
                if asked is None or self._clock() - asked >= ASK_AGAIN:
                    self._ask_for_sync(request, anchors)
                    asked = self._clock()
            if seconds:
                deadline.sleep(min(jittered(seconds, jitter(request.version_id)), deadline.remaining()))
        if self._is_sure_to_wait():
            raise VersioningSuspendedError(
                where=f"secret {secret_name(request.secret_id)}, version {request.version_id}",
                found=f"s3://{self._bucket.name} with its versioning suspended, so that no truststore with"
                f" {' or '.join(sorted(anchors))} is published",
            )
        raise TruststoreNotDeployedError(
            where=f"secret {secret_name(request.secret_id)}, version {request.version_id}",
            found=f"a truststore without {' or '.join(sorted(anchors))} on {
                ', '.join(lacking) or 'API Gateway, which was asked too often to tell'
            }",
            expected="the anchor deployed, and the domain name AVAILABLE, within the step's time",
            remedy="Secrets Manager tries again by itself. If it goes on, look at truststore_sync and its queue.",
        )

    def require_unless_seen(self, secret: ManagedSecret, request: RotationRequest, deadline: Deadline) -> None:
        """The same again, unless this environment has just seen it: testSecret may be called before setSecret.

        Raises:
            TruststoreNotDeployedError: a target does not run it by the deadline.
        """
        if not secret.gateway_trusts:
            return
        anchors = frozenset(map(fingerprint, authorities_of(secret)))
        if not self._context.memory.trusts(anchors, self._clock()):
            self.require(secret, request, deadline)

    def _is_sure_to_wait(self) -> bool:
        """Whether no sync publishes anything at all. Asked once the step's time is over, to say why it waits."""
        try:
            return not self._bucket.keeps_versions
        except ClientError:
            return False

    def _ask_for_sync(self, request: RotationRequest, anchors: frozenset[str]) -> None:
        detail: dict[str, object] = {
            "secret_arn": request.secret_id,
            "secret_name": secret_name(request.secret_id),
            "version_id": request.version_id,
            "anchors": sorted(anchors),
        }
        self._bus.put(TRUSTSTORE_SYNC_REQUESTED, detail, request.secret_id)

    def _anchors_in(self, version: ObjectVersion) -> frozenset[str] | None:
        """The anchors of a version of an edition, by fingerprint; None if it is none of the stack's, or gone."""
        key = self._bucket.key_of(version.uri)
        if key is None or key not in {it.limits.key for it in self._context.targets}:
            return None

        def read() -> frozenset[str] | None:
            stored = self._bucket.read(key, version.version_id)
            return frozenset(bundles.fingerprints(stored.body)) if stored else None

        return self._context.memory.truststore(version.version_id, read)


def targets_without(
    targets: Iterable[Target], anchors: frozenset[str], catalogue: Callable[[ObjectVersion], frozenset[str] | None]
) -> list[str]:
    """The targets whose running truststore lacks one of `anchors`, each with its status where that is why.

    A target that is not there (yet) lacks none.

    Args:
        targets: what checks client certificates.
        anchors: by fingerprint.
        catalogue: the anchors in a version of an object; None if it is none of the stack's, or gone.
    """
    lacking = []
    for target in targets:
        running = target.running()
        if running is None:
            continue
        # Without the sync's receipts, which a rotation may not read: API Gateway names the object that it runs.
        trusted = anchors_of(running, None, catalogue) if running.settled else None
        if trusted is None or not anchors <= trusted:
            lacking.append(target.name if running.settled else f"{target.name}, which is {running.condition}")
    return lacking
