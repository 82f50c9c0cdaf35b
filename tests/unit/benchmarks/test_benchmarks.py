"""What holds results against those that were kept sees each way in which they may be worse, and no other."""

from __future__ import annotations

import json
from copy import deepcopy
from importlib.util import find_spec
from typing import Any

import pytest

from tests.benchmarks import calls
from tests.benchmarks.__main__ import BENCHMARKS
from tests.benchmarks.check import KEPT
from tests.benchmarks.cold_start import USUAL
from tests.benchmarks.figures import Better, Goal, Results, beside, compare, compare_calls, in_turn

PAIRS = [(2.0, 1.0), (2.2, 1.0), (1.8, 1.0), (2.0, 1.0)]


@pytest.fixture
def results() -> Results:
    return Results(
        figures=[
            beside("slow", "s", "quick", PAIRS, goal=2.5),
            beside("many", "1/s", "few", PAIRS, better=Better.HIGHER, goal=1.5),
            beside("chance", "s", "chance", PAIRS, gated=False),
        ],
        calls={"a rotation": {"s3:PutObject": 2, "events:PutEvents": 1}},
        limits={"a rotation": 3},
    )


def test_a_figure_is_the_median_of_its_pairs_ratios(results: Results) -> None:
    slow = results.figures[0]
    assert (slow.value, slow.peer, slow.ratio, slow.runs) == (2.0, 1.0, 2.0, 4)
    assert slow.low < slow.ratio < slow.high


def test_what_is_measured_in_turn_alternates() -> None:
    order: list[str] = []

    def told(name: str) -> int:
        order.append(name)
        return len(order)

    assert in_turn(2, lambda: told("this"), lambda: told("other")) == [(1, 2), (4, 3)]
    assert order == ["this", "other", "other", "this"]


@pytest.mark.parametrize(
    ("figure", "ratio", "worse"),
    [
        (0, 2.29, False),
        (0, 2.31, True),
        (0, 1.0, False),
        (1, 1.75, False),
        (1, 1.7, True),
        (1, 9.0, False),
        (2, 9.0, False),
    ],
)
def test_a_ratio_is_worse_beyond_fifteen_percent_in_its_direction(
    results: Results, figure: int, ratio: float, worse: bool
) -> None:
    kept: dict[str, Any] = results.document()
    now = deepcopy(kept)
    now["figures"][figure]["ratio"] = ratio
    assert bool(compare(kept, now)) == worse


@pytest.mark.parametrize(
    ("made", "worse"),
    [
        ({"s3:PutObject": 2}, []),
        ({"s3:PutObject": 1, "events:PutEvents": 1}, []),
        ({"s3:PutObject": 3}, ["a rotation: 3 calls of s3:PutObject, and there were 2"]),
        ({"kms:Sign": 1}, ["a rotation: 1 calls of kms:Sign, and there were 0"]),
    ],
)
def test_one_call_more_is_worse(results: Results, made: dict[str, int], worse: list[str]) -> None:
    kept = results.document()
    assert compare(kept, kept | {"calls": {"a rotation": made}}) == worse


def test_a_count_of_which_none_was_kept_is_told(results: Results) -> None:
    kept = results.document()
    assert compare(kept | {"calls": {}}, kept)


def test_a_goal_that_is_missed_is_told(results: Results) -> None:
    assert results.missed == []
    results.figures[0] = beside("slow", "s", "quick", [(3.0, 1.0)], goal=2.5)
    results.figures[1] = beside("many", "1/s", "few", [(1.0, 1.0)], better=Better.HIGHER, goal=1.5)
    results.calls["a rotation"]["s3:PutObject"] = 3
    assert [line.partition(":")[0] for line in results.missed] == ["slow", "many", "a rotation"]
    assert Goal(1.0).met(beside("equal", "s", "quick", [(1.0, 1.0)]))


def test_no_call_more_is_made_than_was_kept() -> None:
    """What `make bench-check` asks in a clean clone."""
    counted = calls.measure()
    assert compare_calls(json.loads(KEPT.read_text()), counted.document()) == []
    assert counted.missed == []


def test_each_figure_that_was_kept_has_a_name_of_its_own_and_a_command_that_repeats_it() -> None:
    kept = json.loads(KEPT.read_text())["figures"]
    assert len({it["name"] for it in kept}) == len(kept)
    assert {it["command"] for it in kept} <= {f"python -m tests.benchmarks {name}" for name in BENCHMARKS}


@pytest.mark.parametrize("function", USUAL)
def test_what_a_function_would_usually_import_is_there(function: str) -> None:
    _, modules = USUAL[function]

    assert [it for it in modules.split() if find_spec(f"mtls_rotation.{it}") is None] == []
