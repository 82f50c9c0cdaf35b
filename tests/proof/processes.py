"""Functions that run at once, a call to AWS at a time, in an order that somebody else decides.

A process is suspended before each of its calls to AWS and at each pause. So whoever drives it can run others in
between, let time pass, or kill it there; and the same decisions give the same history.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.kit.fakes import FakeTime, KilledError


class Process(threading.Thread):
    """One invocation of a function.

    Attributes:
        failure: what it raised; None if it ended well, or has not ended.
        sleeping: whether it waits for time to pass rather than for its turn.
        disturbed: whether it was killed, or a call of its failed.
        overlapped: whether another of its kind ran at the same time.
    """

    def __init__(self, kind: str, about: str, body: Callable[[], object], ends_by: datetime) -> None:
        super().__init__(daemon=True, name=f"{kind} {about}")
        self.kind = kind
        self.about = about
        self.ends_by = ends_by
        self.failure: BaseException | None = None
        self.result: object = None
        self.sleeping = False
        self.disturbed = self.overlapped = False
        self._body = body
        self._its_turn = threading.Semaphore(0)
        self._others_turn = threading.Semaphore(0)
        self._killed = threading.Event()
        self._over = threading.Event()
        self.start()

    def run(self) -> None:
        self._its_turn.acquire()
        try:
            if not self._killed.is_set():
                self.result = self._body()
        except BaseException as error:  # noqa: BLE001 - whoever drives it looks at what it was
            self.failure = error
        self._over.set()
        self._others_turn.release()

    def is_over(self) -> bool:
        """Whether it has ended, well or not."""
        return self._over.is_set()

    def advance(self) -> None:
        """Let it go on to its next call or pause, or to its end."""
        self._its_turn.release()
        self._others_turn.acquire()

    def kill(self) -> None:
        """End it where it stands, as Lambda does when its time is over."""
        if not self.is_over():
            self.disturbed = True
            self._killed.set()
            while not self.is_over():  # what it does while it ends may call AWS once more, and is killed there, too
                self.advance()
            self.failure = KilledError(self.name)
        self.join()

    def suspend(self, *, sleeping: bool = False) -> None:
        """Called by the process itself: let others run."""
        if self._killed.is_set():
            raise KilledError(self.name)
        self.sleeping = sleeping
        self._others_turn.release()
        self._its_turn.acquire()
        self.sleeping = False
        if self._killed.is_set():
            raise KilledError(self.name)


def running() -> Process | None:
    """The process that asks; None where it is none, but whoever drives them."""
    return thread if isinstance(thread := threading.current_thread(), Process) else None


@dataclass
class SharedTime(FakeTime):
    """The time that all share. A process that sleeps lets others run; time passes when it is its turn again."""

    passed: Callable[[], object] = lambda: None

    def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        if process := running():
            process.suspend(sleeping=True)
        self.pass_to(until)

    def pass_to(self, moment: float) -> None:
        """Nobody has slept too short; who has slept too long has lost nothing but time."""
        self.now = max(self.now, moment)
        self.passed()

    def tick(self, span: timedelta) -> None:
        """A call to AWS takes a moment."""
        self.now += span.total_seconds()
