"""Reports of demos that never ran: small, the same every time, and as bad as a test wants them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from demo.report import Check, Partner, Refused, Report, RotationReport, RunReport, StepReport, TruststoreReport
from demo.timeline import Origin, Timeline
from demo.traffic import Request, summarize
from mtls_rotation.rotation.request import Step

ORIGIN = Origin(datetime(2026, 11, 25, 8, 30, tzinfo=UTC), 1000.0)
SERIALS = ["4b1e9c64a094", "c2d611f4f845", "64c045630e8d", "3f982966f6cc", "5a7d3b21c9e0"]
SECONDS = 15.0
EVERY = {"AWSCURRENT": 0.025, "AWSPREVIOUS": 0.075}
HOSTILE = '</script><img src=x onerror="window.hacked=1"><!-- \'"> {{ 7 * 7 }} {% raw %} \u2028 ]]> & \\ ' + "W" * 200


def requests(label: str, failures: dict[int, str]) -> list[Request]:
    """An application's requests; `failures` says which fail, and how. A new certificate comes every three seconds."""
    sent = []
    for number in range(round(SECONDS / EVERY[label])):
        at = number * EVERY[label]
        serial = SERIALS[max(0, int(at / 3) - (label == "AWSPREVIOUS"))]
        # From 40 to 160 ms, and never two neighbours alike; the first waits for a cold start.
        took = 2.5 if number == 0 else 0.04 + 0.001 * (number * 37 % 120)
        sent.append(Request(ORIGIN.monotonic + at, took, serial, failures.get(number, ""), number in failures))
    return sent


def rotation(secret: str, began: float, old: str, new: str, *, trouble: str = "") -> RotationReport:
    """A rotation; with trouble, its first attempt ended so in setSecret."""
    took = {Step.CREATE: 80.0, Step.SET: 1800.0 if secret.endswith("ca") else 40.0, Step.TEST: 130.0, Step.FINISH: 60.0}
    runs = []
    if trouble:
        steps = {str(Step.CREATE): StepReport(began, 80.0), str(Step.SET): StepReport(began + 81, 300.0)}
        runs.append(RunReport(1, steps, f"{Step.SET}: {trouble}"))
    at, steps = began + (600.0 if trouble else 0.0), {}
    for step, ms in took.items():
        steps[str(step)] = StepReport(at, ms)
        at += ms + 1
    runs.append(RunReport(len(runs) + 1, steps, ""))
    seconds = {str(step): ms / 1000 for step, ms in took.items()}
    return RotationReport(secret, "manual", old, new, round((at - began) / 1000, 2), seconds, began, runs)


def report(
    failures: dict[str, dict[int, str]] | None = None, *, trouble: str = "", unknown_ca_refused: bool = True
) -> Report:
    """A demo's report.

    Args:
        failures: label → number of the request → how it failed.
        trouble: how the first attempt of a rotation ended.
        unknown_ca_refused: whether the gateway kept a stranger out.
    """
    sent = {label: requests(label, (failures or {}).get(label, {})) for label in EVERY}
    published = ORIGIN.wall - timedelta(seconds=9)
    refused = Refused(True, unknown_ca_refused, True)
    outcome = {"no certificate": True, "unknown CA": unknown_ca_refused, "expired": True}
    return Report(
        stack_name="mtls-demo",
        requests=summarize([request for lane in sent.values() for request in lane]),
        rotations=[
            *(
                rotation("demo/client", 3000.0 * number - 300, SERIALS[number - 1], SERIALS[number], trouble=trouble)
                for number in range(1, 5)
            ),
            rotation("demo/ca", 4000.0, "0ca1", "0ca2"),
        ],
        truststore=[
            TruststoreReport("11aa22bb-1", 1, published.isoformat(), -9000.0, 0.0, ["CN=demo CA"]),
            TruststoreReport("33cc44dd-2", 2, published.isoformat(), 4100.0, 5700.0, ["CN=demo CA", "CN=demo CA"]),
            TruststoreReport("55ee66ff-3", 3, published.isoformat(), 10500.0, 13900.0, ["CN=Partner CA", "CN=demo CA"]),
        ],
        deployed_truststore="55ee66ff-3",
        refused=refused,
        partner_accepted_after_seconds=3.6,
        seconds={"build with `sam build`": 5.8, "deploy with `sam deploy`": 12.2},
        checks=[
            Check("control", "accepted", "accepted", "", 14000.0, 60.0),
            *(
                Check(name, "refused", "refused" if kept else "accepted", "ReadError: reset" if kept else "", at, 9.0)
                for (name, kept), at in zip(outcome.items(), (14070.0, 14080.0, 14090.0), strict=True)
            ),
        ],
        partner=Partner(10400.0, 14000.0),
        timeline=Timeline.of(sent, ORIGIN),
    )


def document(made: Report) -> dict[str, Any]:
    """As it is read from `report.json`."""
    read: dict[str, Any] = json.loads(made.dump())
    return read


def hostile() -> dict[str, Any]:
    """A report in which every text, keys of tables included, is one that would break out of a careless page."""
    made = document(report({"AWSCURRENT": {100: "status 500"}}, trouble="refused"))

    def spoil(value: Any, path: tuple[str, ...] = ()) -> Any:
        match value:
            case dict() if path == ("seconds",):
                return {f"{HOSTILE}{key}": it for key, it in value.items()}
            case dict():
                return {key: spoil(it, (*path, key)) for key, it in value.items()}
            case list():
                return [spoil(it, path) for it in value]
            case str() if path[-1] in {"started_at", "expected", "outcome"}:
                return value
            case str() if path[-1] == "error" and value:
                return f"{value} {HOSTILE}"
            case str():
                return f"{HOSTILE}{value}"
            case _:
                return value

    spoilt: dict[str, Any] = spoil(made)
    return spoilt
