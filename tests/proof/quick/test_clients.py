"""Applications that hold the certificate at run time, through rotations of a deployed stack, reads of which lag."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.deployment import Deployment
from tests.proof.load.application import LIBRARIES
from tests.proof.load.run import Load, partner

RATE, CHECK_EVERY = 20.0, 1.0
# Seconds: a check and its jitter, and what a loaded machine adds.
WITHIN = CHECK_EVERY * 1.1 + 4.0


@pytest.mark.timeout(300)
def test_every_client_goes_through_rotations_of_certificate_and_ca_without_a_failed_request(
    end_to_end: Deployment, tmp_path: Path
) -> None:
    def rotate(load: Load) -> None:
        load.rotate_client()
        load.rotate_ca()
        load.rotate_client()

    with partner(tmp_path) as api:
        outcomes = Load(end_to_end, api, list(LIBRARIES), RATE, CHECK_EVERY, tmp_path).run(rotate)

    for outcome in outcomes:
        assert outcome.failures == [], outcome.library
        assert outcome.late == [], outcome.library
        assert len(outcome.sent) > 50, outcome.library
        pickups = [outcome.pickup(serial_number) for serial_number in outcome.rotations]
        assert all(pickup is not None and pickup < WITHIN for pickup in pickups), (outcome.library, pickups)
