"""Every crash point: each function is killed before and after each of its calls, and ends as if nothing had happened.

The calls are found by running: an undisturbed run counts them, and its ending is what every other run must come to.
Afterwards, when all overlaps are over, nothing may lie in the bucket that belongs to no version.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

import boto3
from moto import mock_aws

from tests.prove import Outcome
from tests.prove.endings import ending, orphans, problems
from tests.prove.retries import Kill, World
from tests.prove.scenarios import SCENARIOS, Scenario
from tests.unit.stack import Clients

# How many pairs of kills are tried of each scenario, and of how many of its crash points the quick form tries which.
PAIRS = 12


@dataclass
class Tally:
    """What was tried, and what broke."""

    points: Counter[str] = field(default_factory=Counter)
    pairs: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    checks: int = 0
    judged: int = 0
    verifications: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Ran:
    """One run: how it ended, and what is wrong with it."""

    calls: tuple[str, ...]
    killed: tuple[str, ...]
    ending: dict[str, Any]
    problems: tuple[str, ...]


def run() -> Outcome:
    """Every crash point of every scenario, and some pairs of each."""
    tally = Tally()
    for scenario in SCENARIOS:
        try_all(scenario, tally, pairs=PAIRS)
    return Outcome(
        counts={
            "crash_points": sum(tally.points.values()),
            "crash_points_by_scenario": dict(tally.points),
            "pairs_of_kills": sum(tally.pairs.values()),
            "calls_made": tally.calls,
            "invariant_checks": tally.checks,
            "certificates_judged": tally.judged,
            "handshakes": tally.verifications,
        },
        failures=tally.failures,
        notes=[
            "A crash point is a kill before a call, or after it, when its effect has happened and its answer is lost.",
            "What Private CA issued to a run that was killed stays issued; its key was lost with the process.",
        ],
    )


def try_all(scenario: Scenario, tally: Tally, *, pairs: int, every: int = 1) -> None:
    """Kill at every crash point, or at every so manieth; then at some pairs."""
    undisturbed = play(scenario, (), tally)
    if undisturbed.problems:
        tally.failures += [f"{scenario.name}, undisturbed: {it}" for it in undisturbed.problems]
        return
    points = [Kill(number + 1, after) for number in range(len(undisturbed.calls)) for after in (False, True)]
    for point in points[::every]:
        tally.points[scenario.name] += 1
        tally.failures += compare(scenario, undisturbed, play(scenario, (point,), tally))
    random = Random(scenario.name)  # noqa: S311 - the same pairs each time
    for _ in range(pairs):
        first = random.choice(points)
        second = Kill(first.number + random.randint(1, len(undisturbed.calls)), random.choice((False, True)))
        tally.pairs[scenario.name] += 1
        tally.failures += compare(scenario, undisturbed, play(scenario, (first, second), tally))


def play(scenario: Scenario, kills: tuple[Kill, ...], tally: Tally) -> Ran:
    """Let the scenario happen with these kills, and see how it ends."""
    with mock_aws():
        world = World(clients())
        try:
            return _play(world, scenario, kills)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is what is looked for
            found = f"{type(error).__name__}: {error}"
            return Ran(tuple(world.killer.calls), tuple(world.killer.done), {}, (found,))
        finally:
            tally.calls += world.stack.wire.calls
            tally.checks += world.monitor.checks
            tally.judged += world.monitor.judged
            tally.verifications += world.monitor.verifications


def _play(world: World, scenario: Scenario, kills: tuple[Kill, ...]) -> Ran:
    world.patient = scenario.patient
    for part in scenario.arrange:
        part(world)
    world.stack.heard()
    world.heard.clear()
    world.killer.begin(kills)
    scenario.act(world)
    world.killer.end()
    world.heard += world.stack.heard()
    ended = ending(world)
    found = problems(world, waiting=scenario.waiting)
    _let_overlaps_end(world)
    found += [f"an orphan: {key}" for key in orphans(world.stack)]
    found += [f"{it}" for it in world.monitor.broken]
    return Ran(tuple(world.killer.calls), tuple(world.killer.done), ended, tuple(found))


def _let_overlaps_end(world: World) -> None:
    world.forced = True  # more than half of a small truststore may leave at once
    for hours in (2, 2, 31 * 24, 2, 2):
        world.stack.pass_time(hours=hours)
        world.settle()


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
def clients() -> Clients:
    """boto3's clients, which moto answers."""
    session = boto3.Session("unit", "test", region_name="us-east-1")
    return Clients(*(session.client(name) for name in ("secretsmanager", "s3", "events", "sqs", "kms", "acm-pca")))
