"""What a run found: the shape of `build/acceptance/report.json`, and whether the run passes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from acceptance.waiting import StoppedError
from demo.traffic import Summary


class Verdict(StrEnum):
    """What came of a scenario or of a probe."""

    HELD = "held"
    """As expected: of a probe, AWS does what the local AWS does by default."""
    DIFFERS = "AWS differs"
    """AWS does what is left open otherwise than the local AWS does by default. Built for both: no failure."""
    FAILED = "failed"
    NOT_TRIED = "not tried"


# So many of the ways in which requests failed are told.
FAILURES = 3


@dataclass(frozen=True)
class Check:
    """One thing that was done or looked at."""

    what: str
    ok: bool
    detail: str = ""
    seconds: float = 0.0


@dataclass
class Checks:
    """Those of one scenario, as they come."""

    all: list[Check] = field(default_factory=list)

    def hold(self, what: str, ok: bool, detail: str = "") -> None:
        """Note whether something is as it has to be. The scenario goes on."""
        self.all.append(Check(what, ok, detail))

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Do something that the rest of the scenario needs. An error ends the scenario, and is noted here."""
        began = time.monotonic()
        try:
            yield
        except StoppedError:
            raise
        except Exception as error:
            self.all.append(Check(what, False, in_words(error), round(time.monotonic() - began, 2)))
            raise
        self.all.append(Check(what, True, "", round(time.monotonic() - began, 2)))


@dataclass(frozen=True)
class ScenarioReport:
    """One scenario.

    Attributes:
        why: of one that was not tried, why.
        traffic: the requests that were under way, if any were.
    """

    name: str
    promise: str
    verdict: Verdict
    checks: list[Check]
    seconds: float
    why: str = ""
    traffic: Summary | None = None


@dataclass(frozen=True)
class ProbeReport:
    """One probe.

    Attributes:
        certain: whether AWS documents the answer.
        expected: what the local AWS does by default.
        found: what this AWS did; empty if it was not tried.
        detail: what was seen, in words.
    """

    name: str
    question: str
    source: str
    certain: bool
    promise: bool
    expected: str
    found: str
    verdict: Verdict
    detail: str
    seconds: float


@dataclass(frozen=True)
class Report:
    """The whole run.

    Attributes:
        against: the account and region, as a person calls them.
        local: whether it was the local AWS.
        left: what could not be removed.
        stopped: what ended the run early; empty if nothing did.
    """

    run: str
    against: str
    local: bool
    began: str
    seconds: float
    scenarios: list[ScenarioReport]
    probes: list[ProbeReport]
    left: list[str]
    stopped: str = ""

    @property
    def problems(self) -> list[str]:
        """Why the run does not pass; empty if it does."""
        found = [f"The run was ended early: {self.stopped}"] if self.stopped else []
        for scenario in self.scenarios:
            if scenario.verdict is Verdict.FAILED:
                missed = [f"{it.what}{f' ({it.detail})' if it.detail else ''}" for it in scenario.checks if not it.ok]
                found += [f"{scenario.name}: {it}" for it in missed or filter(None, [scenario.why])]
            if scenario.traffic and scenario.traffic.failed:
                failures = "; ".join(scenario.traffic.failures[:FAILURES])
                found.append(
                    f"{scenario.name}: {scenario.traffic.failed} of {scenario.traffic.sent} requests with a valid "
                    f"certificate failed: {failures}"
                )
        found += [
            f"{it.name}: {it.found or 'no answer'}, where {it.expected} was expected. {it.detail}".rstrip()
            for it in self.probes
            if it.verdict is Verdict.FAILED
        ]
        return found + [f"left behind: {it}" for it in self.left]

    def answers(self) -> str:
        """What AWS did, and nothing that tells whose account it was: what the documents keep."""
        found = {it.name: it.found for it in self.probes if it.found}
        return json.dumps({"began": self.began, "local": self.local, "answers": found}, indent=2) + "\n"

    def dump(self) -> str:
        """As `report.json` has it."""
        return json.dumps(self.to_json(), indent=2) + "\n"

    def to_json(self) -> dict[str, Any]:
        """As an object of JSON."""
        return asdict(self) | {"problems": self.problems}


def in_words(error: BaseException) -> str:
    """What an error says, its kind included."""
    return f"{type(error).__name__}: {error}"
