"""Figures as a table for people."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from tests.benchmarks.figures import Figure, Results


def of(figures: Iterable[Figure]) -> Table:
    """A row for each figure: what was measured, beside what, and whether its goal was reached."""
    table = Table("what", "measured", "beside", "ratio (quartiles)", "goal")
    for it in figures:
        table.add_row(
            it.name,
            f"{it.value:g} {it.unit}",
            f"{it.peer:g} {it.unit}: {it.against}",
            f"{it.ratio:g} ({it.low:g} to {it.high:g})",
            f"{it.goal.ratio:g}, {'reached' if it.goal.met(it) else 'missed'}" if it.goal else "",
        )
    return table


def of_calls(results: Results) -> Table:
    """A row for each thing whose calls were counted."""
    table = Table("AWS calls of", "calls", "by operation", "goal")
    for name, made in results.calls.items():
        limit = results.limits.get(name)
        number = sum(made.values())
        goal = "" if limit is None else f"{limit}, {'reached' if number <= limit else 'missed'}"
        table.add_row(name, str(number), ", ".join(f"{count} {it}" for it, count in made.items()), goal)
    return table
