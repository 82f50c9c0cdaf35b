"""The scenarios. A new one is its module and one name here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acceptance.scenarios import end_to_end, gateway, kms, self_signed

if TYPE_CHECKING:
    from acceptance.scenarios.api import Scenario

SCENARIOS: tuple[Scenario, ...] = (end_to_end.SCENARIO, gateway.SCENARIO, kms.SCENARIO, self_signed.SCENARIO)
