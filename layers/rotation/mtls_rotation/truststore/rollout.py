"""Which target is brought to the published truststore next, and when. Pure.

The rate is what everything here turns on: one update in an interval, for all targets together.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mtls_rotation.targets.api import Deployed, Truststore

# How soon a target is looked at again whose update is still under way.
LOOK_AGAIN = timedelta(seconds=5)
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Told:
    """What a target was told last, and when.

    Attributes:
        sure: False until it is known that it was told: a run that was killed meanwhile may or may not have done it.
    """

    version_id: str
    at: datetime
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Move:
    """What to do now.

    Attributes:
        update: the target to update now; None if there is none, or it has to wait.
        retry_after: in how many seconds there will be more to do; None if nothing is left.
        drifted: the targets that run what nobody here told them to.
    """

    update: Deployed | None
    retry_after: int | None
    drifted: tuple[Deployed, ...]


def next_move(
    shown: Iterable[Deployed], wanted: Truststore, told: Mapping[str, Told], interval: timedelta, now: datetime
) -> Move:
    """Decide the next update. The target that was updated longest ago comes first, so that none is starved."""
    behind = [it for it in shown if not it.runs(wanted)]
    drifted = tuple(it for it in behind if _drifted(it, wanted, told.get(it.name)))
    if not behind:
        return Move(None, None, drifted)
    last = max((it.at for it in told.values()), default=_NEVER)
    wait = interval - (now - last) if last <= now else interval
    ready = sorted((it for it in behind if it.settled), key=lambda it: (_told_at(told, it), it.name))
    if wait > timedelta() or not ready:
        return Move(None, _seconds(max(wait, LOOK_AGAIN)), drifted)
    more = len(behind) > 1
    return Move(ready[0], _seconds(interval) if more else None, drifted)


def _drifted(shown: Deployed, wanted: Truststore, told: Told | None) -> bool:
    return shown.uri != wanted.uri or (told is not None and told.sure and shown.version_id != told.version_id)


def _told_at(told: Mapping[str, Told], shown: Deployed) -> datetime:
    return told[shown.name].at if shown.name in told else _NEVER


def _seconds(span: timedelta) -> int:
    return math.ceil(span.total_seconds())
