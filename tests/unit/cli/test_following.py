"""What is made of a rotation that is watched: by its labels and its log, either of which may lag or be missing."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from mtls_rotation.contract.labels import AWSCURRENT, AWSPENDING
from mtls_rotation.rotation.request import Step
from mtlsctl.following.log import Line, Result
from mtlsctl.following.rotation import LATE, SETTLED, Outcome, Sight, View, outcome, results

PENDING, CURRENT, GONE = frozenset({AWSPENDING}), frozenset({AWSCURRENT}), frozenset[str]()
DENIED = "AWS.AccessDeniedException"


def lines(*steps: Step, last: Result = Result.DONE, code: str = "") -> dict[Step, Line]:
    found = {step: Line(step, Result.DONE) for step in steps}
    return found | {steps[-1]: Line(steps[-1], last, code=code)} if steps else found


ALL = lines(*Step)
FAILED = lines(Step.CREATE, Step.SET, last=Result.FAILED, code="MTLS-202")
UNSIGNED = lines(Step.CREATE, last=Result.UNSIGNED, code="MTLS-207")


@pytest.mark.parametrize(
    ("sight", "seen_pending", "quiet", "expected"),
    [
        pytest.param(Sight(), False, LATE + 1, None, id="not visible yet"),
        pytest.param(Sight(PENDING, lines=lines(Step.CREATE)), True, 0, None, id="under way"),
        pytest.param(Sight(CURRENT, lines=ALL), True, 0, Outcome.DONE, id="done"),
        pytest.param(Sight(GONE, lines=ALL), True, 0, Outcome.DONE, id="done, and replaced since"),
        pytest.param(Sight(PENDING, lines=FAILED), True, 0, Outcome.FAILED, id="failed"),
        pytest.param(Sight(PENDING, lines=UNSIGNED), True, 0, Outcome.UNSIGNED, id="unsigned"),
        pytest.param(Sight(CURRENT), True, 1, None, id="promoted, log late"),
        pytest.param(Sight(CURRENT), True, LATE + 1, Outcome.DONE, id="promoted, log lost"),
        pytest.param(Sight(CURRENT, log_unreadable=DENIED), False, 0, Outcome.DONE, id="promoted, log unreadable"),
        pytest.param(Sight(PENDING, log_unreadable=DENIED), True, LATE + 1, None, id="under way, log unreadable"),
        pytest.param(Sight(PENDING, True, log_unreadable=DENIED), True, 1, None, id="an old request, log unreadable"),
        pytest.param(Sight(PENDING, True, log_unreadable=DENIED), True, LATE + 1, Outcome.UNSIGNED, id="unsigned"),
        pytest.param(Sight(GONE), True, SETTLED / 2, None, id="a reading that lags"),
        pytest.param(Sight(GONE), True, SETTLED + 1, Outcome.CANCELLED, id="cancelled"),
    ],
)
def test_what_has_become_of_it(sight: Sight, seen_pending: bool, quiet: float, expected: Outcome | None) -> None:
    assert outcome(sight, seen_pending=seen_pending, quiet=quiet) is expected


@pytest.mark.parametrize(
    ("sight", "end", "expected"),
    [
        (Sight(), None, "running waiting waiting waiting"),
        (Sight(lines=lines(Step.CREATE)), None, "done running waiting waiting"),
        (Sight(lines=lines(Step.SET)), None, "done done running waiting"),
        (Sight(lines=FAILED), Outcome.FAILED, "done failed waiting waiting"),
        (Sight(lines=UNSIGNED), Outcome.UNSIGNED, "unsigned waiting waiting waiting"),
        (Sight(CURRENT), Outcome.DONE, "done done done done"),
        (Sight(PENDING, log_unreadable=DENIED), None, "unknown unknown unknown unknown"),
        (Sight(CURRENT, log_unreadable=DENIED), Outcome.DONE, "done done done done"),
    ],
)
def test_what_has_become_of_each_step(sight: Sight, end: Outcome | None, expected: str) -> None:
    assert " ".join(results(sight, end).values()) == expected


def test_the_step_that_is_under_way_is_shown_with_its_seconds_so_far() -> None:
    view, screen = View("s/client"), StringIO()
    view.update(Sight(PENDING, lines={Step.CREATE: Line(Step.CREATE, Result.DONE, 0.25)}), None)
    Console(file=screen, width=80).print(view)

    rows = {words[0]: words[1:] for line in screen.getvalue().splitlines() if (words := line.split())}
    assert rows["createSecret"] == ["done", "0.2"]
    running, seconds = rows["setSecret"][-2:]
    assert running == "running"
    assert 0 <= float(seconds) < 60
    assert rows["finishSecret"] == ["waiting"]
    assert view.running == "setSecret"
