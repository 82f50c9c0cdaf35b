"""A run fails where the promise or an expectation does, and not where an open question is answered otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from acceptance.account import LOCALLY
from acceptance.conduct import Playing, Programme
from acceptance.page import render
from acceptance.probes.api import Answer, Needs, Probe, UndecidedError
from acceptance.report import Checks, Report, Verdict
from acceptance.run import Run
from acceptance.scenarios.api import Scenario, Scene
from acceptance.waiting import StoppedError, Waiting
from demo.traffic import Request, summarize


def a_run(*, local: bool = False, domain: bool = True) -> Run:
    account: Any = SimpleNamespace(local=object() if local else None, id="123456789012", clients=None, pace=LOCALLY)
    nothing: Any = SimpleNamespace()
    return Run("mtls-acceptance-00000000", account, nothing, Waiting(0.01), nothing if domain else None, "", print)


def a_probe(found: str = "as we think", *, certain: bool = False, needs: Needs = Needs.NOTHING) -> Probe:
    def ask(_: Run, scene: Scene) -> Answer:
        if found == "undecided":
            raise UndecidedError("somebody came between")
        if found == "an error":
            raise RuntimeError("a fault")
        return Answer(found, "seen")

    readings = {"as we think": "one", "otherwise": "another"}
    source, how = "https://example.com", "It is tried."
    return Probe("p", "Is it so?", source, how, readings, "as we think", ask, certain, needs=needs)


def played(run: Run, *, scenarios: list[Scenario] | None = None, probes: list[Probe] | None = None) -> Report:
    playing = Playing(run, Programme(scenarios or [], probes or [], lambda _: None))
    playing.play()
    return Report(run.name, "an account", False, "2026-11-30", 1.0, playing.scenarios, playing.probes, [])


@pytest.mark.parametrize(
    ("found", "certain", "local", "verdict"),
    [
        ("as we think", False, False, Verdict.HELD),
        ("as we think", True, True, Verdict.HELD),
        ("otherwise", False, False, Verdict.DIFFERS),
        ("otherwise", True, False, Verdict.FAILED),
        # The local AWS has to do what is said of it.
        ("otherwise", False, True, Verdict.FAILED),
        ("something nobody has thought of", False, False, Verdict.FAILED),
        ("undecided", False, False, Verdict.NOT_TRIED),
        ("undecided", False, True, Verdict.FAILED),
        ("an error", False, False, Verdict.FAILED),
    ],
)
def test_an_answer_fails_the_run_only_where_it_must_not_be_so(
    found: str, certain: bool, local: bool, verdict: Verdict
) -> None:
    report = played(a_run(local=local), probes=[a_probe(found, certain=certain)])

    assert report.probes[0].verdict is verdict
    assert bool(report.problems) is (verdict is Verdict.FAILED)
    assert str(verdict) in render(report.to_json())


def sending(*failures: str) -> Scenario:
    """A scenario under whose requests some failed."""

    def play(_: Run, checks: Checks, scene: Scene) -> None:
        checks.hold("all else is well", True)
        scene.traffic = summarize([Request(float(at), 0.1, "0a", it) for at, it in enumerate(failures)])

    return Scenario("gateway", "No request fails.", play, needs_domain=True)


def test_one_request_that_is_refused_fails_the_run() -> None:
    assert played(a_run(), scenarios=[sending("", "", "")]).problems == []

    report = played(a_run(), scenarios=[sending("", "status 403: Forbidden", "")])

    assert report.problems == [
        "gateway: 1 of 3 requests with a valid certificate failed: status 403: Forbidden",
    ]
    assert report.scenarios[0].verdict is Verdict.FAILED
    assert "Not accepted" in render(report.to_json())


def failing(error: Exception) -> Scenario:
    def play(_: Run, checks: Checks, scene: Scene) -> None:
        with checks.step("rotates"):
            raise error

    return Scenario("end-to-end", "It rotates.", play)


def test_a_step_that_fails_fails_the_run_and_is_named() -> None:
    report = played(a_run(), scenarios=[failing(TimeoutError("waited 5 s in vain"))])

    assert report.problems == ["end-to-end: rotates (TimeoutError: waited 5 s in vain)"]


def test_without_a_domain_the_gateway_is_not_tried_and_the_run_passes() -> None:
    report = played(a_run(domain=False), scenarios=[sending("refused")], probes=[a_probe(needs=Needs.GATEWAY)])

    assert (report.scenarios[0].verdict, report.probes[0].verdict) == (Verdict.NOT_TRIED, Verdict.NOT_TRIED)
    assert report.problems == []


def test_when_the_run_is_to_stop_nothing_new_begins() -> None:
    run = a_run()

    def play(run: Run, checks: Checks, scene: Scene) -> None:
        run.waiting.stopping.set()
        raise StoppedError

    playing = Playing(run, Programme([Scenario("a", "", play), failing(ValueError())], [], lambda _: None))
    playing.play()

    assert [(it.verdict, it.why) for it in playing.scenarios] == [
        (Verdict.NOT_TRIED, "stopped"),
        (Verdict.NOT_TRIED, "not begun"),
    ]


def test_what_is_left_behind_fails_the_run(tmp_path: Path) -> None:
    report = Report("r", "an account", False, "", 1.0, [], [], ["bucket b could not be removed: AccessDenied"])

    assert report.problems == ["left behind: bucket b could not be removed: AccessDenied"]


def test_what_the_documents_keep_names_nothing_of_the_account() -> None:
    report = played(a_run(), probes=[a_probe("otherwise")])

    assert json.loads(report.answers()) == {"began": "2026-11-30", "local": False, "answers": {"p": "otherwise"}}
