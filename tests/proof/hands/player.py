"""What all rules share: the world they play in, what they draw from, and how a function goes on."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from tests.proof.processes import Process
from tests.proof.world import Run, World

WHICH = st.integers(0, 6)
# Most often a few calls; None is to the end.
CALLS = st.sampled_from([None, None, 1, 2, 3, 5, 8, 13])


class Player(RuleBasedStateMachine):
    """One history, and what was played in all of them."""

    played: ClassVar[Counter[str]] = Counter()
    ended: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.world: World  # once it has begun

    def _play(self, name: str) -> None:
        self.played[name] += 1

    def _secret(self, which: int) -> str:
        names = self.world.names()
        return names[which % len(names)]

    def _deleted(self) -> list[str]:
        return sorted(name for name, it in self.world.quick_secrets.secrets.items() if it.deleted_date)

    def _run(self, which: int) -> Run:
        return self.world.runs[which % len(self.world.runs)]

    def _process(self, which: int) -> Process:
        return self.world.processes[which % len(self.world.processes)].process

    def _go(self, process: Process, calls: int | None) -> None:
        self.world.go(process, calls)
        if process.is_over():
            outcome = "well" if process.failure is None else type(process.failure).__name__
            self.ended[outcome] += 1
