"""Every crash point: each function is killed before and after each of its calls, and ends as if nothing had happened.

The calls are found by running. At each of them the whole world is forked: in the child the function is killed, AWS runs
it again as it does, and the end is compared with that of the parent, where nothing happened. Afterwards, when all
overlaps are over, nothing may lie in the bucket that belongs to no version.

``python -m tests.proof.parts.crash_points`` runs the quick form by itself, in a process that has no threads to fork.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from random import Random
from typing import Any
from unittest.mock import patch

import boto3
from moto import mock_aws

from mtls_rotation.revocation import revocation_list
from tests.kit.stack import Mocked
from tests.proof import Outcome
from tests.proof.endings import ending, orphans, problems
from tests.proof.retries import Kill, World
from tests.proof.scenarios import SCENARIOS, Scenario
from tests.proof.wire import Killed

# How many pairs of kills are tried of each scenario.
PAIRS = 12
# How many calls a pair lies apart at most: a retry is about as long as what it repeats.
_APART = 40
# How long a child may take; it takes a tenth of a second on a machine that has the time.
_SECONDS = 120


@dataclass
class Ran:
    """One run: how it ended, and what is wrong with it.

    Attributes:
        planned: how many kills it was to meet.
        killed: those that it met.
        calls: each call of the functions in question.
        counts: what the wire and the monitor have counted, in a child since the fork.
    """

    planned: int = 0
    killed: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    ending: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


@dataclass
class Tally:
    """What was tried, and what broke."""

    points: Counter[str] = field(default_factory=Counter)
    pairs: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def outcome(self) -> Outcome:
        """As the report has it."""
        return Outcome(
            counts={
                "crash_points": sum(self.points.values()),
                "pairs_of_kills": sum(self.pairs.values()),
                **self.counts,
                "crash_points_by_scenario": dict(self.points),
            },
            failures=self.failures,
            notes=[
                "A crash point lies before a call, or after it, when its effect has happened and its answer is lost.",
                "What Private CA issued to a run that was killed stays issued; its key was lost with the process.",
            ],
        )


def run() -> Outcome:
    """Every crash point of every scenario, and some pairs of each."""
    tally = Tally()
    for scenario in SCENARIOS:
        try_all(scenario, tally, pairs=PAIRS)
    return tally.outcome()


def quick() -> Outcome:
    """Every crash point of the scenarios that stand for the others.

    Only the undisturbed runs go on until all overlaps are over: an orphan is an object that they do not have.
    """
    tally = Tally()
    for scenario in SCENARIOS:
        if scenario.quick:
            try_all(scenario, tally, pairs=1, to_the_end=False)
    return tally.outcome()


def try_all(scenario: Scenario, tally: Tally, *, pairs: int, to_the_end: bool = True) -> None:
    """Kill at every crash point of a scenario, and at some pairs."""
    play(scenario, _Forks(scenario.name, 0, at_all=False))  # so that each child finds loaded what all of them need
    fork = _Forks(scenario.name, pairs, to_the_end=to_the_end)
    undisturbed = play(scenario, fork)
    tally.counts.update(undisturbed.counts)
    tally.failures += [f"{scenario.name}, undisturbed: {it}" for it in undisturbed.problems]
    for ran in fork.ended:
        tally.counts.update(ran.counts)
        if ran.planned == len(ran.killed):  # a second kill may come too late to meet anything
            (tally.points if ran.planned == 1 else tally.pairs)[scenario.name] += 1
        tally.failures += compare(scenario, undisturbed, ran)


class _Forks:
    """Forks the process at each crash point, for a child that is killed there; and here and there for a pair."""

    def __init__(self, scenario: str, pairs: int, *, at_all: bool = True, to_the_end: bool = True) -> None:
        self.to_the_end = True
        self._at_all = at_all
        self._children_to_the_end = to_the_end
        self.ended: list[Ran] = []
        self.planned = 0
        self.in_child: Callable[[], None] = lambda: None
        self._out: int | None = None
        self._random = Random(scenario)  # noqa: S311 - the same pairs each time
        self._pairs = pairs
        self._second: Kill | None = None

    def here(self, point: Kill) -> bool:
        """Whether to die here: only ever a child."""
        if not self._at_all:
            return False
        if self._out is not None:
            return point == self._second
        if self._fork(point):
            return True
        # One after the other, spread evenly enough over scenarios of twenty calls and more.
        if len([ran for ran in self.ended if ran.planned > 1]) < self._pairs and self._random.random() < 1 / 3:
            apart = self._random.randint(1, _APART)
            return self._fork(point, Kill(point.number + apart, self._random.choice((False, True))))
        return False

    def _fork(self, point: Kill, second: Kill | None = None) -> bool:
        """Whether this is the child now. The parent goes on when the child has told how it ended."""
        reading, writing = os.pipe()
        gc.freeze()  # so that no child copies the pages of what it does not touch
        if os.fork() == 0:
            gc.disable()
            signal.alarm(_SECONDS)  # its default ends the child: one that hangs tells nothing
            os.close(reading)
            self._out, self._second = writing, second
            self.planned = 2 if second else 1
            self.to_the_end = self._children_to_the_end
            self.in_child()
            return True
        os.close(writing)
        with os.fdopen(reading, "rb") as told:
            text = told.read()
        os.wait()
        self.ended.append(Ran(**json.loads(text)) if text else Ran(problems=[f"killed {point} and never ended"]))
        return False

    def tell(self, ran: Ran) -> None:
        """Tell the parent, and end; only in a child."""
        if self._out is not None:
            with os.fdopen(self._out, "wb") as told:
                told.write(json.dumps(asdict(ran)).encode())
            os._exit(0)


def play(scenario: Scenario, fork: _Forks) -> Ran:
    """Let the scenario happen, and see how it ends. In a child, this does not return."""
    with mock_aws(), patch.object(revocation_list, "ThreadPoolExecutor", _NoThreads):
        world = World(clients(), fork.here)
        ran = Ran()
        fork.in_child = world.count_anew
        try:
            _play(world, scenario, ran)
            if fork.to_the_end:
                _let_overlaps_end(world, ran)
        except (Exception, Killed) as error:  # noqa: BLE001 - whatever goes wrong is what is looked for
            ran.problems.append(f"{type(error).__name__}: {error}")
        finally:
            ran.planned, ran.calls, ran.killed = fork.planned, world.killer.calls, world.killer.kills
            ran.problems += map(str, world.monitor.broken)
            ran.counts = {
                "calls": world.stack.wire.calls,
                "invariant_checks": world.monitor.checks,
                "certificates_judged": world.monitor.judged,
                "handshakes": world.monitor.verifications,
            }
            fork.tell(ran)
        return ran


def _play(world: World, scenario: Scenario, ran: Ran) -> None:
    world.patient = scenario.patient
    for part in scenario.arrange:
        part(world)
    world.heard.clear()
    world.killer.at_work = True
    scenario.act(world)
    world.killer.at_work = False
    world.settle()  # the daily run: what one had just said in passing, another need not have
    ran.ending = ending(world)
    ran.problems += problems(world, waiting=scenario.waiting)


def _let_overlaps_end(world: World, ran: Ran) -> None:
    world.forced = True  # more than half of a small truststore may leave at once
    for hours in (31 * 24, 2, 2):
        world.stack.pass_time(hours=hours)
        world.settle()
    ran.problems += [f"an orphan: {key}" for key in orphans(world.stack)]


class _NoThreads:
    """In place of a pool of threads: a fork takes along only the thread that forks."""

    def __init__(self, _: int) -> None:
        self.map = map

    def __enter__(self) -> _NoThreads:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def compare(scenario: Scenario, undisturbed: Ran, ran: Ran) -> Iterator[str]:
    """In what a run did not end as if nothing had happened, with where it was killed."""
    where = f"{scenario.name}, killed {' and '.join(ran.killed) or 'nowhere'}"
    if ran.problems:
        yield from (f"{where}: {it}" for it in ran.problems)
        return
    for aspect, expected in undisturbed.ending.items():
        if ran.ending[aspect] != expected:
            yield f"{where}: {aspect}: {_difference(expected, ran.ending[aspect])}"


def _difference(expected: Any, found: Any) -> str:
    if isinstance(expected, dict):
        return "; ".join(
            f"{key}: {_difference(expected.get(key, []), found.get(key, []))}"
            for key in sorted({*expected, *found})
            if expected.get(key) != found.get(key)
        )
    lacking, more = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    return f"lacks {sorted(lacking)}, and has {sorted(more)} instead"


@cache
def clients() -> Mocked:
    """boto3's clients, which moto answers."""
    session = boto3.Session("unit", "test", region_name="us-east-1")
    return Mocked(*(session.client(name) for name in ("secretsmanager", "s3", "events", "sqs", "kms", "acm-pca")))


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        json.dump(asdict(quick()), sys.stdout, indent=1)
