"""Which target is brought to its published edition next, and when."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from mtls_rotation.targets.api import Anchors, Edition, Evidence, Lane, ObjectVersion, Receipt, Revision, Running
from mtls_rotation.targets.api_gateway import LANE
from mtls_rotation.truststore.rollout import RolloutDecision, Standing, come_again, next_update
from tests.kit.builders import NOW

WANTED = Edition("truststore.pem", "s3://bucket/truststore.pem", "new", b"", frozenset({"a"}))
OLD = Edition("truststore.pem", "s3://bucket/truststore.pem", "old", b"", frozenset({"b"}))


def told(edition: Edition | str, seconds_ago: float, *, lane: Lane = LANE, revision: str = "") -> Receipt:
    version, digest = (edition, "") if isinstance(edition, str) else (edition.version_id, edition.digest)
    return Receipt(WANTED.uri, version, digest, lane.key, NOW - timedelta(seconds=seconds_ago), revision)


def standing(name: str, evidence: Evidence, receipt: Receipt | None = None, *, settled: bool = True) -> Standing:
    return Standing(name, LANE, Running(evidence, settled, updating=not settled), WANTED, receipt)


def runs(
    name: str, version: str | None, receipt: Receipt | None = None, *, uri: str = WANTED.uri, settled: bool = True
) -> Standing:
    return standing(name, ObjectVersion(uri, version), receipt, settled=settled)


def stuck(name: str, version: str, receipt: Receipt | None = None) -> Standing:
    running = Running(ObjectVersion(WANTED.uri, version), settled=False, status="FAILED")
    return Standing(name, LANE, running, WANTED, receipt)


def decided(standings: Iterable[Standing], **receipts: Receipt) -> RolloutDecision:
    return next_update(standings, receipts, LANE, NOW)


def test_nothing_is_done_where_every_target_runs_what_is_wanted() -> None:
    assert decided([runs("a", "new")]) == RolloutDecision(None, None)


def test_a_target_that_is_behind_is_updated_at_once_if_the_rate_allows() -> None:
    a = runs("a", "old")

    assert decided([a]) == RolloutDecision(a, None)
    assert decided([a], a=told("old", 30)) == RolloutDecision(a, None)


def test_the_rate_is_for_all_targets_of_a_lane_together_and_what_is_left_of_it_is_waited_for() -> None:
    assert decided([runs("a", "old")], b=told("new", 12.5)) == RolloutDecision(None, 18)


def test_a_note_of_a_moment_that_nobody_can_have_meant_holds_up_nothing() -> None:
    a, years = runs("a", "old"), 10 * 365 * 86_400

    assert decided([a], gone=told("new", -years)) == RolloutDecision(a, None)
    assert next_update([a], {}, LANE, NOW, NOW + timedelta(seconds=years)) == RolloutDecision(a, None)
    assert next_update([a], {}, LANE, NOW, NOW + timedelta(minutes=14)).update is None


def test_an_update_in_another_lane_holds_up_none_in_this_one() -> None:
    a, slow = runs("a", "old"), Lane("slow", timedelta(hours=1), timedelta(0))

    assert decided([a], b=told("new", 1, lane=slow)) == RolloutDecision(a, None)


def test_after_one_of_several_the_next_is_due_an_interval_later() -> None:
    last = told("old", 40)
    a, b = runs("a", "old", last), runs("b", "old")

    assert decided([a, b], a=last) == RolloutDecision(b, 30)


def test_a_target_that_is_updating_is_looked_at_again_soon_and_holds_up_no_other() -> None:
    a, b = runs("a", "old", settled=False), runs("b", "old")

    assert decided([a]) == RolloutDecision(None, 5)
    assert decided([a, b]) == RolloutDecision(b, 30)


def test_what_the_sync_never_told_a_target_is_drift_and_what_it_was_told_last_is_not() -> None:
    last = told(OLD, 99)

    assert runs("a", "new", uri="s3://other/t.pem").drifted
    assert runs("b", "older", last).drifted
    assert not runs("c", "old", last).drifted
    assert not runs("d", "unknown").drifted


def test_a_target_that_hands_its_anchors_back_is_compared_by_them_and_comments_do_not_count() -> None:
    assert not standing("a", Anchors(frozenset({"a"}))).behind
    assert standing("a", Anchors(frozenset({"a", "b"}))).behind
    assert not standing("a", Anchors(OLD.anchors), told(OLD, 99)).drifted
    assert standing("a", Anchors(frozenset({"c"})), told(OLD, 99)).drifted
    assert not standing("a", Anchors(frozenset({"c"}))).drifted


def test_a_revision_is_known_only_where_the_receipt_has_the_same() -> None:
    mine, other = Revision("r1"), Revision("r2")

    assert not standing("a", mine, told(WANTED, 99, revision="r1")).behind
    assert standing("a", mine, told(OLD, 99, revision="r1")).behind
    assert not standing("a", mine, told(OLD, 99, revision="r1")).drifted
    assert standing("a", mine).behind
    assert standing("a", other, told(WANTED, 99, revision="r1")).drifted


def test_a_clock_that_was_set_back_has_the_next_look_an_interval_later_and_no_more() -> None:
    assert decided([runs("a", "old")], a=told("old", -600)) == RolloutDecision(None, 30)


def test_a_target_that_is_stuck_is_told_again_even_what_it_shows_already() -> None:
    a = stuck("a", "new")

    assert decided([a]) == RolloutDecision(a, None)


def test_a_target_that_is_stuck_is_left_alone_for_a_while_after_it_was_told() -> None:
    last = told(WANTED, 60)

    assert decided([stuck("a", "new", last)], a=last) == RolloutDecision(None, 240)
    assert not stuck("a", "new", last).drifted


def test_a_target_that_is_stuck_takes_the_rate_from_no_other() -> None:
    b = runs("b", "old", told(OLD, 60))

    assert decided([stuck("a", "new"), b]).update == b


def test_an_update_that_is_left_to_somebody_else_is_waited_for() -> None:
    a = runs("a", "old")

    assert next_update([a], {}, LANE, NOW, NOW + timedelta(seconds=40)) == RolloutDecision(None, 40)
    assert next_update([a], {}, LANE, NOW, NOW) == RolloutDecision(a, None)


def test_what_makes_no_progress_comes_again_ever_later_and_a_queue_hands_it_out_for_hours() -> None:
    waits = [come_again(5, receives) for receives in range(1, 101)]

    assert (waits[0], come_again(30, 1), waits[-1]) == (6, 30, 600)
    assert sum(waits[:60]) > 2 * 3600, "an update of an hour would be given up"


AGES = st.floats(0, 100, allow_nan=False)
STANDING = st.builds(runs, st.sampled_from("abc"), st.sampled_from(["new", "old", None]), settled=st.booleans())


@given(st.lists(STANDING, unique_by=lambda it: it.name), st.dictionaries(st.sampled_from("abc"), AGES))
def test_no_update_comes_within_an_interval_of_another_and_something_is_always_due(
    standings: list[Standing], ages: dict[str, float]
) -> None:
    decision = decided(standings, **{name: told("old", age) for name, age in ages.items()})
    behind = [it for it in standings if it.behind]

    if decision.update:
        assert min(ages.values(), default=30) >= 30
        assert decision.update in behind
        assert decision.update.running.settled
    left = [it for it in behind if it != decision.update]
    assert (decision.retry_after is not None) == bool(left)
    assert decision.retry_after is None or 5 <= decision.retry_after <= 30
