"""Which target is brought to the published truststore next, and when."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from mtls_rotation.targets.api import Deployed, Truststore
from mtls_rotation.truststore.rollout import Move, Told, next_move
from tests.kit.builders import NOW

WANTED = Truststore("s3://bucket/truststore.pem", "new")
INTERVAL = timedelta(seconds=30)


def runs(name: str, version: str | None, *, uri: str = WANTED.uri, settled: bool = True) -> Deployed:
    return Deployed(name, uri, version, settled=settled)


def told(version: str, seconds_ago: float) -> Told:
    return Told(version, NOW - timedelta(seconds=seconds_ago))


def test_nothing_is_done_where_every_target_runs_what_is_wanted() -> None:
    assert next_move([runs("a", "new")], WANTED, {}, INTERVAL, NOW) == Move(None, None, ())


def test_a_target_that_is_behind_is_updated_at_once_if_the_rate_allows() -> None:
    a = runs("a", "old")

    assert next_move([a], WANTED, {}, INTERVAL, NOW) == Move(a, None, ())
    assert next_move([a], WANTED, {"a": told("old", 30)}, INTERVAL, NOW) == Move(a, None, ())


def test_the_rate_is_for_all_targets_together_and_what_is_left_of_it_is_waited_for() -> None:
    move = next_move([runs("a", "old")], WANTED, {"b": told("new", 12.5)}, INTERVAL, NOW)

    assert move == Move(None, 18, ())


def test_after_one_of_several_the_next_is_due_an_interval_later() -> None:
    a, b = runs("a", "old"), runs("b", "old")

    assert next_move([a, b], WANTED, {"a": told("old", 40)}, INTERVAL, NOW) == Move(b, 30, ())


def test_a_target_that_is_updating_is_looked_at_again_soon_and_holds_up_no_other() -> None:
    a, b = runs("a", "old", settled=False), runs("b", "old")

    assert next_move([a], WANTED, {}, INTERVAL, NOW) == Move(None, 5, ())
    assert next_move([a, b], WANTED, {}, INTERVAL, NOW) == Move(b, 30, ())


def test_what_nobody_here_told_a_target_is_drift_and_what_it_was_told_last_is_not() -> None:
    elsewhere, older = runs("a", "new", uri="s3://other/t.pem"), runs("b", "older")
    last = {"b": told("old", 99), "c": told("old", 99)}

    assert next_move([elsewhere], WANTED, {}, INTERVAL, NOW).drifted == (elsewhere,)
    assert next_move([older, runs("c", "old")], WANTED, last, INTERVAL, NOW).drifted == (older,)
    assert next_move([runs("d", "unknown")], WANTED, last, INTERVAL, NOW).drifted == ()


def test_a_clock_that_was_set_back_costs_one_interval_and_no_more() -> None:
    assert next_move([runs("a", "old")], WANTED, {"a": told("old", -9999)}, INTERVAL, NOW) == Move(None, 30, ())


AGES = st.floats(0, 100, allow_nan=False)
SHOWN = st.builds(runs, st.sampled_from("abc"), st.sampled_from(["new", "old", None]), settled=st.booleans())


@given(st.lists(SHOWN, unique_by=lambda it: it.name), st.dictionaries(st.sampled_from("abc"), AGES))
def test_no_update_comes_within_an_interval_of_another_and_something_is_always_due(
    shown: list[Deployed], ages: dict[str, float]
) -> None:
    move = next_move(shown, WANTED, {name: told("old", age) for name, age in ages.items()}, INTERVAL, NOW)
    behind = [it for it in shown if not it.runs(WANTED)]

    if move.update:
        assert min(ages.values(), default=30) >= 30
        assert move.update in behind
        assert move.update.settled
    left = [it for it in behind if it != move.update]
    assert (move.retry_after is not None) == bool(left)
    assert move.retry_after is None or 5 <= move.retry_after <= 30
