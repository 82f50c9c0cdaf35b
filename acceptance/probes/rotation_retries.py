"""How often Secrets Manager tries again what failed, by itself."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING

from acceptance.probes.api import Answer, Probe
from acceptance.probes.rotators import Rotator

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene

# Tries after which no more are watched.
ENOUGH, ENOUGH_LOCALLY = 100, 2


def _ask(run: Run, _: Scene) -> Answer:
    rotator = Rotator.make(run, "retries", fails=True)
    secret = run.make_secret("retries", "a value")
    rotator.rotate(secret, immediately=True)
    run.waiting.until(lambda: bool(rotator.seen()), "the first try", run.account.pace.rotation)
    began, enough = time.monotonic(), ENOUGH_LOCALLY if run.account.local else ENOUGH
    while len(rotator.seen()) < enough and time.monotonic() - began < run.account.pace.retries:
        run.waiting.pause(run.waiting.interval)
    seen = sorted(it["at"] for it in rotator.seen())
    gaps = [round(after - before) for before, after in pairwise(seen)]
    versions = len({it["version"] for it in rotator.seen()})
    watched = f"in {time.monotonic() - began:.0f} s"
    detail = f"{len(seen)} tries {watched} on {versions} version(s), so many seconds apart: {gaps}"
    return Answer("tried again" if len(seen) > 1 else "not within the time", detail)


PROBE = Probe(
    name="rotation-retries",
    question="How often, and after how long, does Secrets Manager try a failed rotation again by itself?",
    source="https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot_rotation.html",
    how="A function whose steps all fail rotates a secret, and its tries are counted for as long as a run allows.",
    readings={"tried again": "with the gaps that are noted", "not within the time": "it may be later"},
    expected="tried again",
    ask=_ask,
    setting="rotation_retries",
)
