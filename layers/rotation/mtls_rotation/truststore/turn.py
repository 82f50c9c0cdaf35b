"""Leaving the next update of a target to CloudFormation, which sends its own after the bootstrap has answered.

Its update must neither meet another that is under way, nor come within the rate of one of ours: AWS does not say that
CloudFormation waits.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mtls_rotation.errors import DomainBusyError, SupersededError, UnusableDomainError
from mtls_rotation.truststore.state import StateFile

if TYPE_CHECKING:
    from mtls_rotation.aws.services import Services
    from mtls_rotation.targets.api import Lane, Target
    from mtls_rotation.targets.registry import TruststoreTargets
    from mtls_rotation.timing import Deadline

# A stack operation that begins so soon after another may be its rollback, which no domain must fail.
_MAY_BE_A_ROLLBACK = timedelta(hours=2)
_TRIES = 5


class Turn:
    """CloudFormation's turn to update a target."""

    def __init__(self, services: Services, targets: TruststoreTargets) -> None:
        self._bucket = services.bucket
        self._clock = services.clock
        self._targets = targets

    def reserve(self, name: str, deadline: Deadline) -> bool:
        """Have every sync leave the target's lane alone, from now to the deadline.

        Returns:
            Whether this may be the rollback of a stack operation that reserved it a while ago.
        """
        lane, now = self._target(name).lane, self._clock()
        before = StateFile.open(self._bucket, self._clock).state.left_at.get(lane.key)
        self._note(lane, now + timedelta(seconds=deadline.remaining()), left_at=now)
        return before is not None and abs(now - before) < _MAY_BE_A_ROLLBACK

    def await_free(self, name: str, deadline: Deadline) -> None:
        """Wait until the target takes an update, and leave that to CloudFormation for as long as one takes its turn.

        Raises:
            DomainBusyError: it takes none by the deadline. The lane is free again.
        """
        target = self._target(name)
        for _ in deadline.attempts(first=1.0):
            busy = self._busy(target)
            if not busy:
                self._note(target.lane, self._clock() + target.lane.interval)
                return
        self._note(target.lane, self._clock())
        raise DomainBusyError(
            where=f"domain name {name}",
            found=f"{busy}, and no time left to wait",
            retry_after=int(target.lane.interval.total_seconds()),
            remedy="Deploy again once it is AVAILABLE. Nothing was changed on it.",
        )

    def _busy(self, target: Target) -> str:
        """Why it takes no update now; empty if it does."""
        try:
            running = target.running()
        except UnusableDomainError:
            running = None  # CloudFormation's update is to give it its truststore again
        if running is not None and running.updating:
            return f"the status {running.condition}"
        receipts = StateFile.open(self._bucket, self._clock).state.receipts.values()
        last = max((it.at for it in receipts if it.lane == target.lane.key), default=None)
        if last is not None and timedelta() <= self._clock() - last < target.lane.interval:
            return "an update of its account a moment ago"
        return ""

    def _note(self, lane: Lane, until: datetime, *, left_at: datetime | None = None) -> None:
        for _ in range(_TRIES):
            file = StateFile.open(self._bucket, self._clock)
            file.change(reserved={**file.state.reserved, lane.key: until})
            if left_at is not None:
                file.change(left_at={**file.state.left_at, lane.key: left_at})
            try:
                file.save()
            except SupersededError as error:
                overtaken = error
            else:
                return
        raise overtaken

    def _target(self, name: str) -> Target:
        return next(it for it in self._targets if it.name == name)
