"""The fleet simulation keeps to the quotas that it is about, and to the counts that it is made of."""

from __future__ import annotations

import bisect
from collections import Counter
from dataclasses import replace

import pytest
from botocore.retries.quota import RetryQuota

from tests.benchmarks import fleet_simulation
from tests.benchmarks.account import LABEL, LOOK, PUT, QUOTAS, READ, UPDATE, Environment, Quota
from tests.benchmarks.fleet_simulation import (
    LINEAR,
    Functions,
    Outcome,
    Scenario,
    Simulation,
    conclude,
    counted,
    functions,
    growth,
    least,
    outcome,
)
from tests.repository.documents import ROOT
from tests.repository.documents.tables import between


def played(
    secrets: int, scenario: Scenario = Scenario.EVERYDAY, quotas: tuple[Quota, ...] = QUOTAS, spread: float = 0.0
) -> Simulation:
    simulation = Simulation(secrets, scenario, quotas=quotas, spread=spread)
    simulation.run(spread + 600.0)
    return simulation


def wide(operation: str, factor: float) -> tuple[Quota, ...]:
    """The quotas, those of an operation widened, or narrowed; one update in 30 seconds stays what it is."""
    return tuple(
        replace(it, rate=it.rate * factor, burst=max(1.0, it.burst * factor))
        if it.counts(operation) and it.burst > 1
        else it
        for it in QUOTAS
    )


@pytest.mark.parametrize("scenario", Scenario)
def test_no_quota_is_exceeded_in_any_second(scenario: Scenario) -> None:
    simulation = played(300, scenario)

    assert any(it.refused for it in simulation.world.buckets.values())
    for quota, bucket in simulation.world.buckets.items():
        for number, begun in enumerate(bucket.taken):
            within = bisect.bisect_left(bucket.taken, begun + 1.0) - number
            assert within <= quota.burst + quota.rate + 1e-6, quota.name
            since_the_beginning = number + 1
            assert since_the_beginning <= quota.burst + quota.rate * begun + 1e-6, quota.name


def test_updates_keep_their_distance() -> None:
    simulation = played(300, Scenario.CA_CHANGE, wide(LOOK, 100))
    (bucket,) = (it for quota, it in simulation.world.buckets.items() if quota.name == "UpdateDomainName")

    assert bucket.taken
    assert bucket.taken[0] >= 30.0  # the domain was updated the moment before


def test_one_rotation_alone_makes_the_calls_that_are_counted() -> None:
    simulation = Simulation(1, Scenario.EVERYDAY, setup=setup(at_once=1))
    simulation.run()

    assert simulation.world.calls == sum((Counter(made) for made in counted().values()), Counter())
    assert simulation.invocations == 4
    assert simulation.syncs == 0


def test_doubling_the_secrets_doubles_the_calls() -> None:
    few, many = (played(number, spread=number) for number in (100, 200))
    operations = {operation for made in counted().values() for operation in made} - {LOOK}  # the sync looks too

    assert {it: many.world.calls[it] for it in operations} == {it: 2 * few.world.calls[it] for it in operations}
    assert abs(growth(conclude(few), conclude(many))["calls"] - 1) <= LINEAR


@pytest.mark.parametrize("secrets", [10, 20, 40])
def test_updates_do_not_grow_with_the_fleet(secrets: int) -> None:
    everyday, change = played(secrets), played(secrets, Scenario.CA_CHANGE, wide(LOOK, 100))

    assert (everyday.world.calls[UPDATE], change.world.calls[UPDATE]) == (0, 1)
    assert all(it.done_at > change.domain.settled_at >= 30.0 for it in change.secrets)


@pytest.mark.parametrize("operation", [PUT, LABEL, LOOK])
def test_a_lower_quota_makes_it_later(operation: str) -> None:
    usual, narrow = (conclude(played(100, quotas=wide(operation, it))) for it in (1.0, 0.1))

    assert narrow.seconds > 2 * usual.seconds
    assert narrow.least_seconds > usual.least_seconds


@pytest.mark.parametrize("scenario", Scenario)
def test_nothing_is_quicker_than_the_quotas_allow(scenario: Scenario) -> None:
    ended = conclude(played(200, scenario))

    assert not ended.unfinished
    assert ended.seconds >= least(200, scenario)


def test_each_rotation_sends_an_event_and_a_batch_takes_many() -> None:
    simulation = played(200, spread=10.0)

    assert simulation.queue.sent == 200
    assert simulation.queue.messages == 0
    assert 1 <= simulation.syncs < 20


def test_what_fails_is_tried_again_until_it_is_done_and_nothing_is_made_twice() -> None:
    ended = played(300, quotas=wide(PUT, 0.1))  # at which not even a patient client gets through each time
    made = sum((Counter(it) for it in counted().values()), Counter())

    assert ended.steps_failed
    assert max(it.tries for it in ended.secrets) > 1
    assert ended.world.calls[PUT] == 300 * made[PUT]
    assert ended.world.calls[LABEL] == 300 * made[LABEL]


def test_an_environment_tries_again_no_more_often_than_botocore_lets_a_client() -> None:
    quota = RetryQuota()
    environment, tries = Environment(), 0
    while environment.may_retry("events"):
        tries += 1
        assert quota.acquire(5)
    environment.succeeded("events", retried=True)

    assert tries == 100
    assert not quota.acquire(5)
    assert environment.may_retry("events")
    assert environment.may_retry("s3")


def test_what_another_environment_knows_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # As they are counted in one environment that remembers.
    warm = {step: {it: number for it, number in made.items() if it != READ} for step, made in counted().items()}
    monkeypatch.setattr(fleet_simulation, "counted", lambda: warm)
    alone, crowded = (Simulation(secrets, Scenario.EVERYDAY, setup=setup(4)) for secrets in (1, 40))
    for it in (alone, crowded):
        it.run()

    assert alone.world.calls[READ] == 0
    assert 40 < crowded.world.calls[READ] <= 3 * 40


def setup(at_once: int) -> Functions:
    return replace(functions(), rotate_at_once=at_once, events=frozenset())


def test_it_comes_out_the_same_each_time() -> None:
    def once() -> Outcome:
        return conclude(played(200))

    assert once() == once() != outcome(100, Scenario.EVERYDAY)


def test_the_readmes_table_is_as_the_simulation_makes_it() -> None:
    kept = between((ROOT / "README.md").read_text(), "fleet")

    assert kept == fleet_simulation.table(), "python -m tests.repository.documents"


def test_the_settings_are_those_of_the_template() -> None:
    found = functions()

    assert found.rotate_seconds == 890
    assert found.sync_seconds == 110
    assert found.events >= {"Secret Label Updated", "Truststore Sync Requested"}
    assert found.sync_at_once == 2
    assert found.batch == 1000
    assert found.again == 30
