"""Whole histories on the real engine: the same in each run, and from seeds that no run before had."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.proof.parts import histories

TestHistories = histories.History.TestCase
TestHistories.settings = settings(
    max_examples=24,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def test_no_history_breaks_an_invariant() -> None:
    outcome = histories.run(seconds=20.0, count=5)

    assert outcome.failures == []
    assert outcome.counts["histories"] >= 10, "from a fixed seed and from a new one, five each"
