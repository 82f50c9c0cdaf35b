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
# How long a target that is stuck is left before it is told again. Its updates count towards the rate of all the others.
TELL_AGAIN = timedelta(minutes=5)
# What waits for a target comes again the later the oftener it has come: the sum over the times that a queue hands a
# message out (`maxReceiveCount`) is many hours. An update has been seen to last for one.
# https://github.com/hashicorp/terraform-provider-aws/issues/45167
_PACE, _LONGEST_WAIT = 6, 600
# What is noted of a moment that is further ahead is no note of ours: no run lasts so long, and no clock is so far off.
# It is not to hold up everything until then.
FURTHEST = timedelta(minutes=15)
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
        return self.running.stuck or not runs(self.running, self.edition, self.receipt)

    @property
    def drifted(self) -> bool:
        """Whether it runs what the sync has never told it."""
        return not runs(self.running, self.edition, self.receipt) and drifted(self.running, self.edition, self.receipt)

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
    standings: Iterable[Standing],
    receipts: Mapping[str, Receipt],
    lane: Lane,
    now: datetime,
    reserved_until: datetime = _NEVER,
) -> RolloutDecision:
    """Decide the next update. The target that was updated longest ago comes first, so that none is starved.

    Those that are stuck come after all others, each after a while: their updates may fail again, and use up the rate.

    Args:
        standings: the targets of the lane.
        receipts: by target, what each was told last; also those of other lanes, and of targets that are gone.
        lane: its rate.
        now: the present moment.
        reserved_until: until when the next update of the lane is left to somebody else.
    """
    behind = [it for it in standings if it.behind]
    if not behind:
        return RolloutDecision(None, None)
    furthest = now + max(FURTHEST, lane.interval)
    last = max((it.at for it in receipts.values() if it.lane == lane.key and it.at <= furthest), default=_NEVER)
    if reserved_until > furthest:
        reserved_until = _NEVER
    wait = max(lane.interval - (now - last) if last <= now else lane.interval, reserved_until - now)
    waits = {it.name: _until_due(it, now) for it in behind if not it.running.updating}
    ready = sorted(
        (it for it in behind if waits.get(it.name) == timedelta()),
        key=lambda it: (it.running.stuck, it.told_at, it.name),
    )
    if wait > timedelta() or not ready:
        soonest = min(waits.get(it.name, LOOK_AGAIN) for it in behind)
        return RolloutDecision(None, _seconds(max(wait, soonest, LOOK_AGAIN)))
    return RolloutDecision(ready[0], _seconds(lane.interval) if len(behind) > 1 else None)


def come_again(retry_after: int, receives: int) -> int:
    """In how many seconds a run comes again that made no progress: later, the longer nothing has changed.

    Args:
        retry_after: in how many seconds there is more to do, at the soonest.
        receives: how often its message has come.
    """
    return max(retry_after, min(_PACE * receives, _LONGEST_WAIT))


def _until_due(standing: Standing, now: datetime) -> timedelta:
    """How long a target is left alone: one that is stuck, and was told a moment ago."""
    gone = now - standing.told_at
    if not standing.running.stuck or gone < timedelta():
        return timedelta()
    return max(timedelta(), TELL_AGAIN - gone)


def _seconds(span: timedelta) -> int:
    return math.ceil(span.total_seconds())
