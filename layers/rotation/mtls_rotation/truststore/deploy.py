"""Getting the published editions to run: what each target shows, and the update of the one whose turn it is."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtls_rotation.errors import DomainBusyError, DomainNotAvailableError, SupersededError, UnusableDomainError
from mtls_rotation.truststore.rollout import TELL_AGAIN, Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mtls_rotation.aws.bucket import CertificateBucket
    from mtls_rotation.targets.api import Running, Target
    from mtls_rotation.timing import Deadline
    from mtls_rotation.truststore.publish import Published
    from mtls_rotation.truststore.rollout import RolloutDecision
    from mtls_rotation.truststore.state import StateFile


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What came of a deployment.

    Attributes:
        updated: the targets that were told in this run.
        retry_after: in how many seconds there will be more to do; None if nothing is left.
    """

    updated: tuple[str, ...]
    retry_after: int | None


@dataclass(frozen=True, slots=True)
class Look:
    """What targets run.

    Attributes:
        running: by key of an edition, what each target shows that is to run it. One that is not there shows nothing.
        unusable: why one of them cannot be used.
    """

    running: Mapping[str, Mapping[str, Running]]
    unusable: UnusableDomainError | None = None


class Deployer:
    """Has the targets run what is published."""

    def __init__(self, bucket: CertificateBucket, targets: Iterable[Target]) -> None:
        self._bucket = bucket
        self._targets = tuple(targets)

    def look(self) -> Look:
        """What each target runs, and why one of them cannot be used: it holds up no other."""
        found: dict[str, dict[str, Running]] = defaultdict(dict)
        unusable = None
        for target in self._targets:
            try:
                running = target.running()
            except UnusableDomainError as error:
                unusable = error
                continue
            if running is not None:
                found[target.limits.key][target.name] = running
        return Look(found, unusable)

    def standings(
        self, published: Iterable[Published], running: Mapping[str, Running], state: StateFile
    ) -> list[Standing]:
        """What each target that is there runs, and what it should run."""
        editions = {it.limits: it.edition for it in published}
        return [
            Standing(it.name, it.lane, running[it.name], editions[it.limits], state.state.receipts.get(it.name))
            for it in self._targets
            if it.name in running and it.limits in editions
        ]

    def deploy(self, decisions: Iterable[RolloutDecision], state: StateFile) -> Deployment:
        """In each lane, tell the target whose turn it is; the rest is for a later run.

        Raises:
            SupersededError: another run published or deployed in the meantime.
        """
        updated, waits = [], []
        for decision in decisions:
            wait = decision.retry_after
            if decision.update is not None:
                try:
                    self._update(decision.update, state)
                except DomainBusyError as busy:
                    wait = busy.retry_after
                except DomainNotAvailableError as refusal:
                    log.warning("a target takes no update", extra={"code": refusal.code, "reason": str(refusal)})
                    wait = wait or math.ceil(TELL_AGAIN.total_seconds())
                else:
                    updated.append(decision.update.name)
            waits.append(wait)
        return Deployment(tuple(updated), min((it for it in waits if it is not None), default=None))

    def _update(self, standing: Standing, state: StateFile) -> None:
        target = self._target(standing.name)
        edition = standing.edition
        # Between the publish and here another run may have published and deployed a newer one: it must not be undone.
        if (newest := self._bucket.newest(edition.key)) != edition.version_id:
            raise SupersededError(
                where=edition.uri,
                found=f"the version {newest}",
                expected=f"the version {edition.version_id}, which this run has just published",
                remedy="Nothing to do: it is looked at afresh and tried again.",
            )
        with state.update_noted(target, edition) as permit:
            permit.require_fresh()
            permit.revision = target.run(edition, standing.running)

    def await_settled(self, names: Iterable[str], deadline: Deadline) -> dict[str, Running]:
        """What each of these targets shows once its update is over, or at the deadline."""
        settled = {}
        for target in map(self._target, names):
            for _ in deadline.attempts():
                running = target.running()
                if running is None or not running.updating:
                    break
            if running is not None:
                settled[target.name] = running
        return settled

    def _target(self, name: str) -> Target:
        return next(it for it in self._targets if it.name == name)
