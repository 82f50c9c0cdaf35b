"""Whole histories of a stack: whatever happens, in whatever order, at whatever moment, the invariants hold.

A state machine (hypothesis) draws the histories. Functions run at once, suspended before any of their calls to AWS, and
everything else happens in between: other functions, hands, faults, time (the rules, in `tests.proof.hands`).
`tests.proof.world` says what is claimed. At the end of each history all is let settle, and must be as if nothing had
happened.

Played again by ``python -m tests.proof.parts.histories --seed N --count C``, which prints the steps of the shortest
history that fails.
"""

from __future__ import annotations

import argparse
import json
import logging
import secrets
import sys
import time
import traceback
from collections import Counter
from dataclasses import asdict
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, run_state_machine_as_test

from tests.proof import Outcome
from tests.proof.hands.circumstances import Circumstances
from tests.proof.hands.definitions import Definitions
from tests.proof.hands.distrust import Distrusts
from tests.proof.hands.losses import Losses
from tests.proof.hands.revocations import Revocations
from tests.proof.hands.rotations import Rotations
from tests.proof.hands.signers import Signers
from tests.proof.hands.steps import Steps
from tests.proof.hands.syncs import Syncs
from tests.proof.world import HOURS, NOTICED, PARTNER, PINNED, ViolationError, World, endpoint_of

OTHERS = (HOURS, NOTICED, PINNED, PARTNER)


class History(Rotations, Steps, Syncs, Definitions, Distrusts, Losses, Revocations, Signers, Circumstances):
    """A stack through its life."""

    injected: ClassVar[Counter[str]] = Counter()
    histories = 0
    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.failed = False

    @initialize(others=st.sets(st.sampled_from(OTHERS), max_size=2), two=st.booleans())
    def begin(self, others: set[str], two: bool) -> None:
        """What the bootstrap leaves behind, and up to two further secrets; one domain or two."""
        self._endpoint: Any = None
        self.world = World.begun(sorted(others), domains=1 + two)
        self._endpoint = endpoint_of(self.world)
        self._endpoint.__enter__()

    def teardown(self) -> None:
        if not self._begun():
            return
        try:
            if self.world.violation is None and not self.failed:
                self.world.settle()
                self.world.require_settled()
        finally:
            self.world.abandon()
            self._endpoint.__exit__(None, None, None)
            History.histories += 1
            History.injected += self.world.wire.injected
            History.calls += self.world.wire.calls.total()

    @invariant()
    def all_that_is_claimed(self) -> None:
        if self._begun():
            self.world.check()

    def check_invariants(self, *arguments: Any, **more: Any) -> None:
        """A history that has failed need not settle."""
        try:
            super().check_invariants(*arguments, **more)
        except ViolationError:
            self.failed = True
            raise

    def _begun(self) -> bool:
        return "world" in vars(self)


def play(count: int, seeded: int | None, *, shortest: bool = True) -> str:
    """Play histories; the first that fails, in words, or nothing.

    Args:
        count: how many.
        seeded: where they come from; None for the same in every run.
        shortest: whether to look for a shorter one that fails.
    """
    chosen = settings(
        max_examples=count,
        stateful_step_count=40,
        deadline=None,
        database=None,
        derandomize=seeded is None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink] if shortest else [Phase.generate],
        verbosity=Verbosity.normal,
    )
    machine = type("SeededHistory", (History,), {})
    if seeded is not None:
        machine = seed(seeded)(machine)
    logging.disable(logging.CRITICAL)
    try:
        run_state_machine_as_test(machine, settings=chosen)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
        return "\n".join([*traceback.format_exception_only(error), *traceback.format_tb(error.__traceback__)[-3:]])
    finally:
        logging.disable(logging.NOTSET)
    return ""


BATCH = 40
SECONDS = 480.0


def run(seconds: float = SECONDS, first: int | None = None, count: int = BATCH) -> Outcome:
    """As many histories as there is time for: by turns from fixed seeds and from new ones, which are named.

    Args:
        seconds: after them no batch begins, but for the first two.
        first: what the new seeds begin at; None for one by chance.
        count: how many histories are played from a seed.
    """
    outcome = Outcome()
    base = first if first is not None else secrets.randbelow(1 << 32)
    began, batch = time.monotonic(), 0
    while batch < 2 or time.monotonic() - began < seconds:
        number = batch if batch % 2 == 0 else base + batch
        if found := play(count, number):
            outcome.failures.append(f"python -m tests.proof.parts.histories --seed {number} --count {count}\n{found}")
            if len(outcome.failures) >= 3:
                break
        batch += 1
    outcome.counts = {
        "histories": History.histories,
        "rules": History.played.total(),
        "by_rule": dict(History.played.most_common()),
        "calls_of_aws": History.calls,
        "faults": dict(sorted(History.injected.items())),
        "functions_ended": dict(History.ended.most_common()),
    }
    outcome.notes = [f"{batch} batches of {count}, by turns from the seeds 0, 2, 4 … and from {base} + 1, + 3, + 5 …"]
    return outcome


def main() -> int:
    """Play one batch again, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="of the batch that failed")
    parser.add_argument("--count", type=int, default=BATCH, help="of the histories in that batch")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    arguments = parser.parse_args()
    if arguments.seed is not None:
        found = play(arguments.count, arguments.seed)
        print(found or "nothing fails")
        return int(bool(found))
    outcome = run(arguments.seconds)
    print(json.dumps(asdict(outcome), indent=1))
    return int(bool(outcome.failures))


if __name__ == "__main__":
    sys.exit(main())
