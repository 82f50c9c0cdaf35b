"""Histories from seeds that no run before had: half of them, for as long as the quick form may take."""

from __future__ import annotations

from tests.proof.parts import histories


def test_no_history_breaks_an_invariant() -> None:
    outcome = histories.run(seconds=20.0, count=5)

    assert outcome.failures == []
    assert outcome.counts["histories"] >= 10, "from a fixed seed and from a new one, five each"
