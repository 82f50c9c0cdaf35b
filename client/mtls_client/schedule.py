"""When Secrets Manager is asked again. Decides, and calls nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

# However little of the validity is left.
SHORTEST = timedelta(seconds=5)
FIRST_PAUSE = timedelta(seconds=5)
# While there is no valid certificate, every request fails: look again soon.
LONGEST_PAUSE_WITHOUT = timedelta(seconds=10)
_MOST_DOUBLINGS = 20


def _jitter() -> float:
    """Keeps a thousand processes that started together from asking together; never less than the interval."""
    return random.uniform(1.0, 1.1)  # noqa: S311 - no secret depends on it


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the next check is due.

    Attributes:
        every: how long a check that went well is good for.
        jitter: a factor for every interval, 1 or a little more.
    """

    every: timedelta
    jitter: Callable[[], float] = _jitter

    def after_success(self, now: datetime, not_after: datetime) -> datetime:
        """After the interval, or when half of what remains of the validity has gone, whichever is first."""
        return now + min(self.every * self.jitter(), max((not_after - now) / 2, SHORTEST))

    def after_doubts(self, doubts: int) -> timedelta:
        """How long to wait after doubtful refusals were a reason to ask so many times in a row, and in vain."""
        return min(FIRST_PAUSE * (1 << min(max(doubts - 1, 0), _MOST_DOUBLINGS)), self.every)

    def after_failure(self, now: datetime, failures: int, *, certificate_is_valid: bool) -> datetime:
        """Twice as late after each failure in a row, but never later than after a success."""
        pause = FIRST_PAUSE * (1 << min(failures - 1, _MOST_DOUBLINGS))
        longest = self.every if certificate_is_valid else min(self.every, LONGEST_PAUSE_WITHOUT)
        return now + min(pause, longest) * self.jitter()
