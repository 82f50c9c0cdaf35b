"""The soak of `tests/benchmarks/soak.py`, as a part of the proof."""

from __future__ import annotations

from tests.benchmarks import soak
from tests.proof import Outcome


def run() -> Outcome:
    """Hundreds of rotations, and whether anything grew."""
    results, failures = soak.measure()
    return Outcome(counts=results, failures=failures, notes=list(soak.NOTES))
