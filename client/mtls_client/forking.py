"""What has to be made anew in a child process: locks that another thread may hold, and shared connections."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """Whatever holds a lock or a connection."""

    def after_fork(self) -> None:
        """Called in the child process, before anything else runs there."""


_alive: WeakSet[Forkable] = WeakSet()


def renew_after_fork(thing: Forkable) -> None:
    """Have its `after_fork` called in every child process, as long as it lives."""
    _alive.add(thing)


def _in_child() -> None:
    for thing in list(_alive):
        thing.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
