"""A third of the calls to AWS fail, each in another way. `python -m tests.proof bad_network` tries every service."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.proof import fault_proxy
from tests.proof.parts.bad_network import Stack, Trial

SERVICES = ("secretsmanager", "s3")
SHARE, LASTS = 0.3, 5.0


@pytest.mark.timeout(240)
def test_no_request_fails_and_every_rotation_ends_well_while_a_third_of_the_calls_fail(shaky: Stack) -> None:
    trial = Trial(shaky)
    before = shaky.application.told()
    # Each kind once for certain, and then by chance.
    certain = [
        fault_proxy.surely(SERVICES[number % len(SERVICES)], kind)
        for number, kind in enumerate(fault_proxy.QUICK_KINDS)
    ]
    by_chance = fault_proxy.spread(SERVICES, SHARE, fault_proxy.QUICK_KINDS)
    trial.phase("a third of the calls", [*certain, *by_chance], [shaky.deployment.client], LASTS)
    after, injected = shaky.application.told(), Counter[str]()
    for kinds in shaky.proxy.injected().values():
        injected.update(kinds)

    assert set(injected) == set(fault_proxy.QUICK_KINDS), injected
    assert trial.tally.started
    assert trial.failures() == []
    assert after.sent > before.sent
    assert after.failed == 0, after.failures
    assert shaky.deployment.accepts(shaky.deployment.held())


@pytest.mark.timeout(120)
def test_what_an_application_holds_serves_while_secrets_manager_is_away(shaky: Stack) -> None:
    before = shaky.application.told()
    Trial(shaky).outage()
    after = shaky.application.told()

    assert after.failed_checks > before.failed_checks
    assert after.sent > before.sent
    assert after.failed == 0, after.failures
