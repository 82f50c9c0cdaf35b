"""The scenarios. They are played at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acceptance.scenarios import end_to_end, gateway, kms

if TYPE_CHECKING:
    from acceptance.scenarios.api import Scenario

SCENARIOS: tuple[Scenario, ...] = (end_to_end.SCENARIO, gateway.SCENARIO, kms.SCENARIO)
