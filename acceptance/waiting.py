"""Waiting on state, with a deadline, until the run is to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


class StoppedError(Exception):
    """The run is to stop: what waits gives up."""


@dataclass(frozen=True)
class Waiting:
    """How a run waits.

    Attributes:
        interval: seconds from one look to the next.
        stopping: set when the run is to stop.
    """

    interval: float
    stopping: threading.Event = field(default_factory=threading.Event)

    def until(self, condition: Callable[[], bool], what: str, seconds: float) -> float:
        """Wait until a condition holds, and return the seconds that it took.

        Raises:
            TimeoutError: it did not within `seconds`.
            StoppedError: the run is to stop.
        """
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > seconds:
                raise TimeoutError(f"waited {seconds:.0f} s in vain: {what}")
            self.pause(self.interval)
        return time.monotonic() - began

    def pause(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            StoppedError: the run is to stop.
        """
        if self.stopping.wait(seconds):
            raise StoppedError
