"""The demo's report: what `report.json` holds of a run, and what the page's words and places make of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from demo.page import PageError, render
from demo.page.__main__ import main
from demo.page.view import Latency, Scale, View
from demo.report import Check, RunReport
from demo.sightings import Sightings
from demo.timeline import Origin, Timeline
from demo.traffic import Request
from demo.waiting import await_condition
from localaws import RotationRun
from tests.e2e.browser.reports import HOSTILE, ORIGIN, SERIALS, document, hostile, report

EARLIER_KEYS = {
    "stack",
    "requests",
    "rotations",
    "truststore",
    "deployed_truststore",
    "refused",
    "partner_accepted_after_seconds",
    "seconds",
    "problems",
}


def at(seconds: float, serial: str = "a", failure: str = "") -> Request:
    return Request(ORIGIN.monotonic + seconds, 0.0625, serial, failure)


# The data -------------------------------------------------------------------------------------------------------------


def test_a_moment_of_either_clock_is_placed_on_the_same_time_line() -> None:
    assert ORIGIN.milliseconds(ORIGIN.monotonic + 1.2345) == 1234.5
    assert ORIGIN.milliseconds(ORIGIN.wall + timedelta(seconds=1.2345)) == 1234.5
    assert ORIGIN.milliseconds(ORIGIN.wall - timedelta(seconds=2)) == -2000.0
    now = Origin.now()
    assert 0 <= now.milliseconds() < 10_000
    assert abs(now.milliseconds(datetime.now(UTC)) - now.milliseconds()) < 1000


def test_the_time_line_holds_every_request_in_the_order_in_which_they_were_sent() -> None:
    line = Timeline.of(
        {"AWSCURRENT": [at(0), at(2, "b"), at(3, "b", "reset")], "AWSPREVIOUS": [at(1), at(2.5, "a", "reset")]}, ORIGIN
    )
    assert line.requests == (
        (0.0, 62.5, 0, None, 0),
        (1000.0, 62.5, 0, None, 1),
        (2000.0, 62.5, 1, None, 0),
        (2500.0, 62.5, 0, 0, 1),
        (3000.0, 62.5, 1, 0, 0),
    )
    assert (line.lanes, line.serials, line.failures) == (("AWSCURRENT", "AWSPREVIOUS"), ("a", "b"), ("reset",))
    assert line.milliseconds == 3062.5


def test_a_time_line_without_a_request_is_one() -> None:
    line = Timeline.of({"AWSCURRENT": []}, ORIGIN)
    assert (line.requests, line.milliseconds) == ((), 0.0)


def test_a_run_is_told_with_the_time_at_which_each_step_began() -> None:
    began = ORIGIN.wall + timedelta(seconds=1)
    run = RotationRun(
        secret_name="demo/client",
        secret_arn="arn",
        version_id="v",
        trigger="manual",
        attempt=2,
        started_at=began,
        finished_at=None,
        steps={"createSecret": 0.25, "setSecret": 1.0},
        step_starts={"createSecret": began, "setSecret": began + timedelta(seconds=0.5)},
        error="setSecret: no",
    )
    told = RunReport.of(run, ORIGIN)
    assert (told.attempt, told.error) == (2, "setSecret: no")
    assert {step: (it.began_ms, it.ms) for step, it in told.steps.items()} == {
        "createSecret": (1000.0, 250.0),
        "setSecret": (1500.0, 1000.0),
    }


@pytest.mark.parametrize(
    ("failure", "refused", "outcome"), [("", False, "accepted"), ("reset", True, "refused"), ("slow", False, "failed")]
)
def test_a_check_tells_a_refusal_from_a_failure(failure: str, refused: bool, outcome: str) -> None:
    check = Check.of("expired", "refused", Request(ORIGIN.monotonic + 1, 0.5, "", failure, refused), ORIGIN)
    assert (check.outcome, check.answer, check.began_ms, check.ms) == (outcome, failure, 1000.0, 500.0)


def test_report_json_keeps_the_keys_that_it_had_and_gains_what_the_page_needs() -> None:
    made = document(report())
    assert made.keys() == EARLIER_KEYS | {"checks", "partner", "timeline"}
    assert {"secret", "trigger", "old_serial", "new_serial", "seconds", "steps"} < made["rotations"][0].keys()
    assert {"version_id", "anchors", "published_at"} < made["truststore"][0].keys()
    assert made["problems"] == []


def test_report_json_has_each_request_on_one_line_and_reads_as_it_was_written() -> None:
    trap = 'a line\n      [\n  1,\n  2\n  ] and "more"'
    made = report({"AWSCURRENT": {10: trap}})
    text = made.dump()
    assert json.loads(text) == json.loads(json.dumps(made.to_json()))
    lines = text.splitlines()
    assert sum(line.strip().rstrip(",").startswith("[") for line in lines) >= made.requests.sent
    assert len(lines) < made.requests.sent + 500
    assert made.requests.failed == 1


class _Gateway:
    """A domain that is updated once."""

    def __init__(self) -> None:
        self.answers: Iterator[tuple[str, str]] = iter(
            [("AVAILABLE", "one"), ("UPDATING", "two"), ("UPDATING", "two"), ("AVAILABLE", "two")]
        )
        self.last = ("AVAILABLE", "two")

    def get_domain_name(self, *, domainName: str) -> dict[str, Any]:  # noqa: N803 - as boto3 has it
        status, version = next(self.answers, self.last)
        return {"domainNameStatus": status, "mutualTlsAuthentication": {"truststoreVersion": version}}


def test_a_truststore_is_deployed_when_the_gateway_runs_it_and_not_when_it_was_asked_to() -> None:
    sightings = Sightings(cast(Any, _Gateway()), "api.example", Origin.now())
    sightings.start()
    assert sightings.deployed == {"one": 0.0}
    await_condition(lambda: "two" in sightings.deployed, "the second version", 10.0)
    sightings.stop()
    # Three looks after the first.
    assert sightings.deployed["two"] > 550


def test_what_breaks_the_looking_is_raised() -> None:
    gateway = _Gateway()
    sightings = Sightings(cast(Any, gateway), "api.example", Origin.now())
    sightings.start()
    gateway.last = cast(Any, None)
    gateway.answers = iter([])
    await_condition(lambda: bool(sightings._running and sightings._running.done()), "it breaks", 10.0)
    with pytest.raises(TypeError):
        sightings.stop()


# What the page makes of it --------------------------------------------------------------------------------------------


def test_places_are_parts_of_the_whole_and_never_outside_of_it() -> None:
    scale = Scale(20_000)
    assert (scale.place(-5), scale.place(5000), scale.place(99_999)) == ("0.000%", "25.000%", "100.000%")
    assert scale.width(-1000, 1000) == "5.000%"
    assert scale.width(3000, 1000) == "0.000%"
    assert [name for _, name in scale.ticks()][:3] == ["0 s", "2 s", "4 s"]
    assert len(Scale(3_600_000).ticks()) < 16


def test_a_cold_start_does_not_press_every_other_request_flat() -> None:
    latency = Latency.of([6500.0] * 2 + [50.0 + number / 10 for number in range(998)])
    assert (latency.low, latency.high) == (50, 200)
    assert latency.y(6500.0, 100) == latency.y(200.0, 100) < latency.y(100.0, 100) < latency.y(1.0, 100)
    assert [name for _, name in latency.ticks(100)] == ["50 ms", "100 ms", "200+ ms"]


@pytest.mark.parametrize("took", [[], [1.0], [0.0], [30_000.0] * 5, [10.0, 10.0], [900_000.0]])
def test_any_times_make_a_scale(took: list[float]) -> None:
    latency = Latency.of(took)
    for ms in (0.0, 1.0, 5e6):
        assert 0 <= latency.y(ms, 100) <= 100


def test_a_lane_names_a_certificate_where_it_begins_to_be_used() -> None:
    current, previous = View.of(document(report())).lanes
    assert [it.serial for _, it in current.names] == SERIALS
    # The application that holds on is one behind.
    assert [it.serial for _, it in previous.names] == SERIALS[:4]
    assert [place for place, _ in previous.names][1] == current.names[2][0]


def test_a_rotation_with_a_retry_shows_both_attempts() -> None:
    first = View.of(document(report(trouble="AccessDenied"))).rotations[0]
    assert [bar.kind for bar in first.bars] == ["create", "set stopped", "create", "set", "test", "finish"]
    assert "attempt 1: took" in first.bars[1].label
    assert first.bars[1].label.endswith("Failed: setSecret: AccessDenied")


def test_a_truststore_that_the_gateway_never_ran_is_said_to_be_so() -> None:
    made = document(report())
    made["truststore"][1]["deployed_ms"] = None
    view = View.of(made)
    assert view.truststores[1][4] == "not seen"
    assert [len(bars) for _, bars in view.truststore_rows] == [3, 2]


def test_every_text_of_a_report_is_escaped_wherever_it_stands() -> None:
    page = render(hostile())
    assert "<img" not in page
    assert "{{ 7 * 7 }}" in page
    assert page.count("<script") == page.count("</script>") == 2
    assert HOSTILE not in page


def test_a_page_of_a_run_without_requests_or_rotations_can_be_made() -> None:
    made = document(report())
    made["timeline"] |= {"requests": [], "serials": [], "failures": []}
    made |= {"rotations": [], "truststore": [], "checks": []}
    assert "rotated no secret" in render(made)


# The command ----------------------------------------------------------------------------------------------------------


def test_a_page_is_made_of_a_report_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "report.json").write_text(report().dump())
    assert main([str(tmp_path / "report.json")]) == 0
    assert "<!doctype html>" in (tmp_path / "report.html").read_text()
    assert main([str(tmp_path / "report.json"), str(tmp_path / "other.html")]) == 0
    assert (tmp_path / "other.html").read_text() == (tmp_path / "report.html").read_text()
    assert "other.html written" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["{}", "[1", '{"timeline": {}}'])
def test_a_report_of_which_no_page_can_be_made_is_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").write_text(text)
    assert main([str(tmp_path / "report.json")]) == 1
    assert str(tmp_path / "report.json") in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()
    assert main([str(tmp_path / "nothing.json")]) == 1


def test_a_report_of_an_earlier_release_is_refused_with_what_to_do() -> None:
    made = {key: it for key, it in document(report()).items() if key in EARLIER_KEYS}
    with pytest.raises(PageError, match=r"no 'timeline'.*run `make demo`"):
        render(made)
