"""Which target is brought to its published edition next, and when. Pure.

The rate is what everything here turns on: one update in an interval, for all targets of a lane together.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mtls_rotation.targets.api import Edition, Lane, Receipt, Running, drifted, runs

# How soon a target is looked at again whose update is still under way.
LOOK_AGAIN = timedelta(seconds=5)
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Standing:
    """A target, what it runs, and what it should run.

    Attributes:
        receipt: what it was told last; None if it was never told.
    """

    name: str
    lane: Lane
    running: Running
    edition: Edition
    receipt: Receipt | None = None

    @property
    def behind(self) -> bool:
        """Whether it does not run, nor is about to run, what it should."""
        return not runs(self.running, self.edition, self.receipt)

    @property
    def drifted(self) -> bool:
        """Whether it runs what the sync has never told it."""
        return self.behind and drifted(self.running, self.edition, self.receipt)

    @property
    def told_at(self) -> datetime:
        """When it was told last."""
        return self.receipt.at if self.receipt else _NEVER


@dataclass(frozen=True, slots=True)
class RolloutDecision:
    """What to do now with the targets of a lane.

    Attributes:
        update: the target to update now; None if there is none, or it has to wait.
        retry_after: in how many seconds there will be more to do; None if nothing is left.
    """

    update: Standing | None
    retry_after: int | None


def next_update(
    standings: Iterable[Standing], receipts: Mapping[str, Receipt], lane: Lane, now: datetime
) -> RolloutDecision:
    """Decide the next update. The target that was updated longest ago comes first, so that none is starved.

    Args:
        standings: the targets of the lane.
        receipts: by target, what each was told last; also those of other lanes, and of targets that are gone.
        lane: its rate.
        now: the present moment.
    """
    behind = [it for it in standings if it.behind]
    if not behind:
        return RolloutDecision(None, None)
    last = max((it.at for it in receipts.values() if it.lane == lane.key), default=_NEVER)
    wait = lane.interval - (now - last) if last <= now else lane.interval
    ready = sorted((it for it in behind if it.running.settled), key=lambda it: (it.told_at, it.name))
    if wait > timedelta() or not ready:
        return RolloutDecision(None, _seconds(max(wait, LOOK_AGAIN)))
    return RolloutDecision(ready[0], _seconds(lane.interval) if len(behind) > 1 else None)


def _seconds(span: timedelta) -> int:
    return math.ceil(span.total_seconds())
