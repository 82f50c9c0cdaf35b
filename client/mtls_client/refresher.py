"""The thread that checks, so that no request has to."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol
from weakref import ref

from mtls_client.forking import renew_after_fork

if TYPE_CHECKING:
    from datetime import timedelta

logger = logging.getLogger("mtls_client")

# Seconds. A machine that was suspended, or whose clock was set, is noticed after that long at the latest.
LONGEST_NAP = 60.0


class Checks(Protocol):
    """Whatever has something to check."""

    def check_if_due(self) -> timedelta:
        """Check if it is due. Raises nothing, and returns the time until the next check is."""


class Refresher:
    """Makes checks in a daemon thread, which is started when it is first needed, and anew in a forked child.

    The thread holds what it checks weakly, and ends with it.

    Args:
        ahead: whether to check as soon as one is due; if not, only when nudged.
    """

    _rounds: _Rounds | None

    def __init__(self, *, ahead: bool) -> None:
        self._ahead = ahead
        self.after_fork()
        renew_after_fork(self)

    def nudge(self, what: Checks, patience: float = 0.0) -> None:
        """Have it checked now if that is due.

        Args:
            what: is checked.
            patience: how many seconds to wait for it. Only one thread waits; another returns at once.
        """
        with self._lock:
            if self._rounds is None:
                self._rounds = _Rounds(what, ahead=self._ahead)
            rounds = self._rounds
        if not patience:
            rounds.wake()
        elif self._waiting.acquire(blocking=False):
            try:
                rounds.done.clear()
                rounds.wake()
                rounds.done.wait(patience)
            finally:
                self._waiting.release()

    def stop(self) -> None:
        """End the thread; the next nudge starts another."""
        with self._lock:
            rounds, self._rounds = self._rounds, None
        if rounds:
            rounds.stop()

    def after_fork(self) -> None:
        """See `forking`. Threads do not survive it."""
        self._lock = threading.Lock()
        self._waiting = threading.Lock()
        self._rounds = None


class _Rounds:
    """One thread, and what it and those who nudge it tell each other."""

    def __init__(self, what: Checks, *, ahead: bool) -> None:
        self.done = threading.Event()
        # Not an Event, which has a lock: the collector may call `stop` at any moment, in the midst of `wake`, too.
        self._calls: SimpleQueue[None] = SimpleQueue()
        self._ahead = ahead
        self._stopped = False
        self._what = ref(what, lambda _: self.stop())
        threading.Thread(target=self._run, name="mtls_client", daemon=True).start()

    def wake(self) -> None:
        self._calls.put(None)

    def stop(self) -> None:
        self._stopped = True
        self.wake()

    def _sleep(self, nap: float | None) -> None:
        """Until woken, or for so many seconds. However often it was woken meanwhile, that is once."""
        with suppress(Empty):
            self._calls.get(timeout=nap)
            while True:
                self._calls.get_nowait()

    def _run(self) -> None:
        nap = 0.0 if self._ahead else None
        while True:
            self._sleep(nap)
            what = self._what()
            if what is None or self._stopped:
                return
            try:
                due_in = what.check_if_due().total_seconds()
            except BaseException:  # such as a subscriber's SystemExit: it would end all checks, unheard
                logger.exception("A check ended with an error. The next one is made in %g s.", LONGEST_NAP)
                due_in = LONGEST_NAP
            del what
            self.done.set()
            nap = min(max(due_in, 0.0), LONGEST_NAP) if self._ahead else None
