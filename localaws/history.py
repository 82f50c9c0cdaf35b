"""What something looked like a while ago: what a service that is eventually consistent still goes by."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta

_LONG_AGO = float("-inf")


class History[K, V]:
    """Keeps what each thing was before its latest changes, for as long as a lag is set.

    What is there when a lag is set first is as old as can be. A change counts from when it is noticed.
    """

    def __init__(self) -> None:
        self._states: dict[K, list[tuple[float, V | None]]] = {}
        self._watching = False

    def observe(self, present: Mapping[K, V], lag: timedelta) -> None:
        """Note every difference since the last look, as a change of this moment."""
        if not lag:
            self._watching = False
            self._states.clear()
            return
        now = time.monotonic()
        stamp = now if self._watching else _LONG_AGO
        self._watching = True
        for key in present.keys() | self._states.keys():
            states, value = self._states.setdefault(key, []), present.get(key)
            if not states or states[-1][1] != value:
                states.append((stamp, value))
            while len(states) > 1 and states[1][0] <= now - lag.total_seconds():
                states.pop(0)

    def as_of(self, key: K, lag: timedelta) -> V | None:
        """What a thing was that long ago; None if it was not there."""
        visible = time.monotonic() - lag.total_seconds()
        past = [value for stamp, value in self._states.get(key, []) if stamp <= visible]
        return past[-1] if past else None

    def age(self, key: K) -> timedelta:
        """How long ago a thing was there first; of one that is not known, for ever."""
        states = self._states.get(key)
        since = states[0][0] if states else _LONG_AGO
        return timedelta.max if since == _LONG_AGO else timedelta(seconds=time.monotonic() - since)
