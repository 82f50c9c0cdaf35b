"""Rotations in a row, and a CA's: nothing grows that should not. `python -m tests.benchmarks.soak` does hundreds."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.benchmarks.soak import Soak, grow_old, judge
from tests.proof.parts.bad_network import Stack

ROTATIONS, CA_ROTATIONS = 20, 1


@pytest.mark.timeout(300)
def test_memory_descriptors_truststore_and_bucket_stay_as_they_are_while_certificates_come_and_go(shaky: Stack) -> None:
    deployment = shaky.deployment
    soak = Soak(deployment, {deployment.ca: [deployment.client]}, shaky.application.told)
    soaked = soak.run(ROTATIONS, CA_ROTATIONS, at_once=1, every=2)
    results, failures = judge(soaked, shaky.application.told())

    assert failures == []
    assert (results["rotations"], results["ca_rotations"]) == (ROTATIONS, CA_ROTATIONS)
    assert results["certificates_taken_up"] > 0
    assert grow_old(deployment, timedelta(hours=1)) == []
