"""What testSecret meets where RotateSecret is told not to rotate at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acceptance.probes.api import Answer, Probe
from acceptance.probes.rotators import Rotator
from acceptance.probes.settings import by_default

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene

SETTING = "rotation_trial"
VALUE = '{"is": "current"}'


def _ask(run: Run, _: Scene) -> Answer:
    rotator = Rotator.make(run, "trial", fails=False)
    secret = run.make_secret("trial", VALUE)
    rotator.rotate(secret, immediately=False)
    run.waiting.until(lambda: bool(rotator.seen()), "a step of the trial", run.account.pace.rotation)
    first = rotator.seen()[0]
    stages = first["stages"].get(first["version"], [])
    detail = f"{first['step']}, on a version with the labels {stages}: {first.get('value', first.get('error'))}"
    if first.get("value") == VALUE:
        return Answer("the current value", detail)
    return Answer("no value" if "error" in first else "another value", detail)


PROBE = Probe(
    name="rotation-trial-value",
    question="Which version, with which value, does testSecret get where RotateImmediately is false?",
    source="https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html",
    how="A function that writes down what it is asked is made the rotation function of a secret with a value.",
    readings={
        "the current value": "a version of its own that carries the value at AWSCURRENT",
        "no value": "a version that cannot be read",
        "another value": "something else",
    },
    expected=by_default(SETTING, {"current": "the current value", "empty": "no value"}),
    ask=_ask,
    setting=SETTING,
)
