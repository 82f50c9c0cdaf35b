"""`make prove`: what tries to break the promise, at full length. `make prove QUICK=1` runs their quick forms.

Each part is a module here with a function ``run() -> Outcome``, and can be run alone:
``python -m tests.proof crash_points``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Outcome:
    """What a part has tried, and what broke.

    Attributes:
        counts: what was tried, by name; a number, or an object of numbers by service, reader or action.
        failures: one line for each thing that failed: what, where, and how to see it again. Empty is the aim.
        notes: what a reader should know of how it was tried, and each exception with its reason.
    """

    counts: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
