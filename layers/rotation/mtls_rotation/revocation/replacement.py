"""The rotation of every secret that holds a revoked certificate at AWSCURRENT or AWSPENDING."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mtls_rotation.aws.secret_versions import HIDDEN, RotationStart, out_of_reach
from mtls_rotation.contract.labels import AWSCURRENT, AWSPENDING
from mtls_rotation.revocation.tasks import Outcome, Task, attempt

if TYPE_CHECKING:
    from mtls_rotation.aws.certificate_index import CertificateIndex, FiledCertificate
    from mtls_rotation.aws.secret_versions import SecretDescription
    from mtls_rotation.aws.services import Services
    from mtls_rotation.revocation.register import Register
    from mtls_rotation.revocation.revocation_list import PublishedList
    from mtls_rotation.revocation.state import StateFile

log = logging.getLogger(__name__)


class Replacement:
    """Starts those rotations. A pending version that is revoked is given up first."""

    def __init__(self, services: Services) -> None:
        self._versions = services.versions

    def start(self, index: CertificateIndex, published: PublishedList) -> list[Outcome]:
        """Start what is to be started. What was done has the secret's name.

        Raises:
            SupersededError: another run is ahead of this one.
        """
        register, state = published.register, published.state
        # A key tells the serial number alone; the few certificates that match are looked at.
        candidates = index.with_serial_number(*(it.serial_number for it in register.revoked))
        held: dict[str, set[str]] = {secret: set() for secret in state.content.given_up}
        looks = [
            attempt(Task(f"{it.key} cannot be read", partial(_look_at, it, index, register, held))) for it in candidates
        ]
        rotations = [
            attempt(
                Task(
                    f"secret {secret} holds a revoked certificate and is not rotated",
                    partial(self._replace, secret, version_ids, state),
                )
            )
            for secret, version_ids in sorted(held.items())
        ]
        return looks + rotations

    def _replace(self, secret: str, revoked: set[str], state: StateFile) -> Outcome:
        try:
            description = self._versions.describe(secret)
        except ClientError as error:
            if (reason := out_of_reach(error)) is None:
                raise
            # Whoever revokes a certificate may well delete its secret. Where that was not so, the log has it.
            log.warning(
                "passed over: nothing holds the revoked certificate that could be rotated",
                extra={"secret": secret, "reason": reason},
            )
            return Outcome()
        return self._rotate(secret, description, revoked, state)

    def _rotate(self, secret: str, description: SecretDescription, revoked: set[str], state: StateFile) -> Outcome:
        """Rotate a secret if what it holds is revoked. One that is still pending is given up first."""
        current, pending = description.version_at(AWSCURRENT), description.version_at(AWSPENDING)
        given_up = dict(state.content.given_up)
        unfinished = secret in given_up and given_up[secret] == current
        if description.deleted or not (unfinished or {current, pending} & revoked):
            given_up.pop(secret, None)
            state.write(given_up=given_up)
            return Outcome()
        if pending is not None and pending in revoked:
            # Noted first: once it is given up, nothing else tells that the secret is to be rotated.
            state.write(given_up=given_up | {secret: current or ""})
            self._versions.drop_pending(description.arn, pending)
        reasons = {
            RotationStart.REFUSED: "its rotation is switched off: switch it on, or rotate it yourself",
            RotationStart.OUT_OF_REACH: f"cannot be rotated: Secrets Manager answers as for {HIDDEN}",
        }
        if reason := reasons.get(self._versions.rotate(description.arn)):
            return Outcome(problems=(f"secret {secret} holds a revoked certificate and {reason}",))
        given_up.pop(secret, None)
        state.write(given_up=given_up)
        return Outcome(secret)


def _look_at(
    filed: FiledCertificate, index: CertificateIndex, register: Register, held: dict[str, set[str]]
) -> Outcome:
    """Note the version that holds a certificate, if the certificate is one of those that are revoked."""
    certificate = index.certificate(filed)
    if certificate and register.revocations.include(certificate):
        held.setdefault(filed.secret, set()).add(filed.version_id)
    return Outcome()
