"""Being asked to end: SIGTERM and SIGINT."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Shutdown:
    """Whether the process was asked to end.

    Attributes:
        requested: once.
        hurried: twice, so what is under way is to be given up.
    """

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.hurried = asyncio.Event()

    def request(self) -> None:
        """Ask for it; a second time, to hurry."""
        (self.hurried if self.requested.is_set() else self.requested).set()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Have SIGTERM and SIGINT ask for it as long as the block runs."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.request)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    async def while_running(self, task: asyncio.Task[None]) -> None:
        """Wait until it is requested, or until a task that should run for ever fails.

        Raises:
            Exception: whatever the task failed with.
        """
        waiting = asyncio.ensure_future(self.requested.wait())
        try:
            await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if task.done():
            task.result()


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait until it is over."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
