"""finishSecret: move AWSCURRENT to the pending version that testSecret has passed, and announce the rotation.

A proof does not say when it was left: a rotation may be cancelled after its test, and whoever may invoke the function
ends it weeks later. So what changes with time is looked at again before AWSCURRENT is moved.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mtls_rotation.contract.events import CLIENT_CERTIFICATE_ROTATED
from mtls_rotation.contract.labels import AWSCURRENT, AWSPENDING, AWSPREVIOUS, secret_name
from mtls_rotation.contract.material import certificates_of
from mtls_rotation.errors import NotYetVisibleError, RejectedCertificateError, UntestedVersionError
from mtls_rotation.issuers.api import Concluding, Order
from mtls_rotation.pki.certificates import subject
from mtls_rotation.rotation.ca_notice import ca_notice
from mtls_rotation.rotation.context import not_staged
from mtls_rotation.rotation.filing import certified
from mtls_rotation.rotation.leftovers import clear_away
from mtls_rotation.rotation.proof import is_its_own, is_proved
from mtls_rotation.rotation.trust import TrustStep

if TYPE_CHECKING:
    from mtls_rotation.aws.secret_versions import SecretDescription
    from mtls_rotation.contract.secret import ManagedSecret
    from mtls_rotation.rotation.context import StepContext
    from mtls_rotation.rotation.request import RotationRequest
    from mtls_rotation.timing import Deadline

# Longer than four steps take from the moment of issue, and than a certificate is dated back.
_WALK = timedelta(minutes=30)


class FinishStep:
    """finishSecret."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._versions = context.services.versions
        self._bus = context.services.bus
        self._clock = context.services.clock
        self._trust = TrustStep(context)

    def run(self, request: RotationRequest, deadline: Deadline) -> None:
        """Promote the version, have its issuer conclude, and announce it.

        Raises:
            VersionNotStagedError: AWSPENDING was taken off the version.
            UntestedVersionError: testSecret has not passed for this version.
            RejectedCertificateError: it has, and the certificate or a CA above it is not in date any more.
            TruststoreNotDeployedError: likewise, and a target does not trust it any more.
            NotYetVisibleError: Secrets Manager's answers stay behind.
        """
        secret = self._tested(request, deadline)
        description, previous = self._promote(request, secret, deadline)
        self._versions.drop_pending(description.arn, request.version_id)
        issuer = self._context.issuers.of(secret)
        if isinstance(issuer, Concluding):
            issuer.conclude(secret, description.arn, description.name)
        detail: dict[str, object] = {
            "secret_arn": description.arn,
            "secret_name": description.name,
            "kind": secret.kind,
            "version_id": request.version_id,
            "previous_version_id": previous,
            "serial_number": secret.serial_number,
            "fingerprint_sha256": secret.fingerprint_sha256,
            "not_after": secret.not_after,
        }
        self._bus.put(CLIENT_CERTIFICATE_ROTATED, detail, description.arn)
        # Last: it may take minutes, and nobody waits for it.
        order = Order(secret, description.arn, description.name, request.version_id, self._clock(), deadline)
        clear_away(issuer, order, secret)

    def _tested(self, request: RotationRequest, deadline: Deadline) -> ManagedSecret:
        """What the version holds, once it is seen that testSecret has passed for it, or that it is in use already.

        Raises:
            VersionNotStagedError, NotYetVisibleError: see `StepContext.pending`.
            UntestedVersionError: testSecret has not passed for this version.
        """
        known = self._context.memory.secret(request)
        if known is not None and self._context.memory.tested(request):
            return known
        for _ in self._context.visibility(deadline).attempts():
            stored = self._context.pending(request, deadline)
            secret = certified(stored)
            if AWSCURRENT in stored.stages or is_proved(stored, secret):
                self._context.memory.keep(request, secret)
                return secret
            if not is_its_own(stored, secret):
                break  # nothing that is read later makes it so
        raise UntestedVersionError(
            where=f"secret {stored.name}, version {stored.version_id}",
            found="a certificate that testSecret has not passed, and a call of finishSecret",
            expected="the steps in their order: nobody may be given what servers may refuse",
            remedy="Nothing was changed. Secrets Manager tries the rotation again by itself, from its first step. If it"
            " was not Secrets Manager that called, see in CloudTrail who invoked the function.",
        )

    def _promote(
        self, request: RotationRequest, secret: ManagedSecret, deadline: Deadline
    ) -> tuple[SecretDescription, str | None]:
        """Move AWSCURRENT to the token's version. A stale reading is read again.

        Returns:
            The secret, and the version that had AWSCURRENT. Where it has been moved already, by a run that was killed,
            AWSPREVIOUS tells which that was.

        Raises:
            VersionNotStagedError: AWSPENDING was taken off the version.
            RejectedCertificateError, TruststoreNotDeployedError: see `_require_still`.
        """
        required = False
        for _ in self._context.visibility(deadline).attempts():
            description = self._context.describe(request.secret_id)
            current = description.version_at(AWSCURRENT)
            if current == request.version_id:
                return description, description.version_at(AWSPREVIOUS)
            if description.version_at(AWSPENDING) != request.version_id:
                # The reading is behind, unless the version itself has no label.
                stored = self._versions.version(description.arn, request.version_id)
                if stored is not None and not stored.stages & {AWSPENDING, AWSCURRENT}:
                    raise not_staged(description.name, request.version_id, stored.stages)
                continue
            if not required:
                self._require_still(secret, request, deadline)
                required = True
            try:
                if secret.kind == "ca":
                    self._give_notice(description, secret)
                self._versions.make_current(description, request.version_id)
            except ClientError as error:
                if error.response["Error"]["Code"] != "InvalidParameterException":
                    raise
            else:
                return description, current
        raise NotYetVisibleError(
            where=f"secret {description.name}",
            found=f"AWSCURRENT on {current}, and AWSPENDING on {description.version_at(AWSPENDING)}, which is behind",
            expected=f"AWSPENDING on {request.version_id}, and one answer about where AWSCURRENT is",
            remedy="Secrets Manager tries the rotation again by itself.",
        )

    def _require_still(self, secret: ManagedSecret, request: RotationRequest, deadline: Deadline) -> None:
        """See that what was proved at some time holds now. Within the walk that proved it, that takes no call.

        Raises:
            RejectedCertificateError: the certificate, or a CA above it, is not in date.
            TruststoreNotDeployedError: a target does not trust it by the deadline.
        """
        now, (chain, anchor) = self._clock(), certificates_of(secret)
        for it in (*chain, anchor):
            if not it.not_valid_before_utc <= now <= it.not_valid_after_utc:
                raise RejectedCertificateError(
                    where=f"secret {secret_name(request.secret_id)}, version {request.version_id}",
                    found=f"{subject(it)}, valid from {it.not_valid_before_utc:%Y-%m-%d %H:%M} to"
                    f" {it.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, which was in date when testSecret passed",
                    expected="a certificate that is in date, as are the CAs above it, when it becomes AWSCURRENT",
                    remedy="AWSCURRENT was not moved. Rotate the secret anew. If nobody ended an old rotation by hand,"
                    " see in CloudTrail who invoked the function.",
                )
        # What testSecret saw in this very walk is not asked for again: API Gateway takes ten calls a second.
        if now - chain[0].not_valid_before_utc > _WALK:
            self._trust.require_unless_seen(secret, request, deadline)

    def _give_notice(self, description: SecretDescription, successor: ManagedSecret) -> None:
        use_from = datetime.fromisoformat(successor.use_from) if successor.use_from else None
        for move in ca_notice(description, self._clock(), use_from):
            self._versions.move_label(description.arn, move.label, move.old, move.new)
