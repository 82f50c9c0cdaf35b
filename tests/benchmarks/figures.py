"""What every benchmark yields: figures, each beside its peer or limit, and call counts, which are exact.

A figure is a ratio of two things that were measured in turn in one run, so that another machine, or one that is busy,
moves both. `compare` tells what has become worse since results that were kept.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

# By how much a ratio may become worse than it was.
TOLERANCE = 0.15


class Better(StrEnum):
    """Which way a ratio is better."""

    LOWER = "lower"
    HIGHER = "higher"


@dataclass(frozen=True, slots=True)
class Goal:
    """What a ratio is to reach: at most so much where lower is better, and else at least."""

    ratio: float

    def met(self, figure: Figure) -> bool:
        """Whether it does."""
        return figure.ratio <= self.ratio if figure.better is Better.LOWER else figure.ratio >= self.ratio


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured, beside another.

    Attributes:
        name: what was measured; unique, as results are compared by it.
        value: how much, in `unit`; `peer`, what the other took, likewise.
        against: what the other is: a peer that one would use instead, or the limit of what is possible.
        ratio: the median of value / peer, of runs in turn; `low` and `high` are its quartiles.
        command: what repeats it alone.
        gated: whether it is held against results that were kept; not where a few runs say too little.
    """

    name: str
    unit: str
    value: float
    peer: float
    against: str
    ratio: float
    low: float
    high: float
    runs: int
    better: Better = Better.LOWER
    goal: Goal | None = None
    gated: bool = True
    command: str = ""


@dataclass
class Results:
    """What some benchmarks found.

    Attributes:
        calls: by what was done, AWS calls by operation.
        limits: what a call count is to stay within, by what was done.
        details: whatever else a reader may want, by benchmark.
    """

    figures: list[Figure] = field(default_factory=list)
    calls: dict[str, dict[str, int]] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def add(self, other: Results) -> None:
        """Take in what another benchmark found."""
        self.figures += other.figures
        self.calls |= other.calls
        self.limits |= other.limits
        self.details |= other.details

    def document(self) -> dict[str, Any]:
        """As it is written to a file."""
        return asdict(self)

    @property
    def missed(self) -> list[str]:
        """The goals that were not reached, a line for each."""
        found = [
            f"{it.name}: {it.ratio:g} of {it.against}, and the goal is {it.goal.ratio:g}"
            for it in self.figures
            if it.goal and not it.goal.met(it)
        ]
        for name, limit in self.limits.items():
            if (made := sum(self.calls[name].values())) > limit:
                found.append(f"{name}: {made} AWS calls, and the goal is {limit}")
        return found


def beside(
    name: str,
    unit: str,
    against: str,
    measured: Sequence[tuple[float, float]],
    *,
    better: Better = Better.LOWER,
    goal: float | None = None,
    gated: bool = True,
) -> Figure:
    """A figure of pairs that were measured one right after the other: (this, the other)."""
    ratios = [this / other for this, other in measured]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (ratios[0],) * 3
    return Figure(
        name=name,
        unit=unit,
        value=_rounded(statistics.median(this for this, _ in measured)),
        peer=_rounded(statistics.median(other for _, other in measured)),
        against=against,
        ratio=round(middle, 3),
        low=round(low, 3),
        high=round(high, 3),
        runs=len(ratios),
        better=better,
        goal=Goal(goal) if goal is not None else None,
        gated=gated,
    )


def in_turn[T](runs: int, this: Callable[[], T], other: Callable[[], T]) -> list[tuple[T, T]]:
    """Measure both as often; which comes first alternates."""
    pairs = []
    for number in range(runs):
        if number % 2:
            second, first = other(), this()
        else:
            first, second = this(), other()
        pairs.append((first, second))
    return pairs


def compare(kept: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What has become worse: a ratio by more than `TOLERANCE`, or a call count at all. A line for each.

    Args:
        kept: a document of `Results.document`; and so is `now`, which may hold fewer benchmarks.
    """
    before = {it["name"]: it for it in kept["figures"]}
    worse = []
    for it in now["figures"]:
        was = before.get(it["name"])
        if was is None or not it["gated"]:
            continue
        lower = it["better"] == Better.LOWER
        by = it["ratio"] / was["ratio"] if lower else was["ratio"] / it["ratio"]
        if by > 1 + TOLERANCE:
            worse.append(f"{it['name']}: {it['ratio']:g} of {it['against']}, and it was {was['ratio']:g}")
    return worse + compare_calls(kept, now)


def compare_calls(kept: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Which call counts have risen; a line for each operation."""
    worse = []
    for name, made in now["calls"].items():
        was = kept["calls"].get(name)
        if was is None:
            worse.append(f"{name}: no count of it was kept; run `make bench` and keep its results")
            continue
        worse += [
            f"{name}: {count} calls of {operation}, and there were {was.get(operation, 0)}"
            for operation, count in made.items()
            if count > was.get(operation, 0)
        ]
    return worse


def _rounded(number: float) -> float:
    return float(f"{number:.4g}")
