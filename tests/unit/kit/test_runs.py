"""What is said of several runs of tests together, and whether they have failed together."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.kit import runs
from tests.kit.runs import Ended, Run, carry_out, counts, run_all, summary


@pytest.fixture(autouse=True)
def _folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    monkeypatch.setattr(runs, "LAST", "test_last.py")
    (tmp_path / "test_last.py").write_text("def test_last(): pass\n")
    (tmp_path / "test_well.py").write_text("def test_one(): pass\ndef test_two(): pass\n")
    (tmp_path / "test_ill.py").write_text("def test_one(): pass\ndef test_two(): assert False\n")


def test_the_outcomes_of_all_runs_are_told_in_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_all([Run("well", ["test_well.py"]), Run("ill", ["test_ill.py"], niceness=1)], ["-p", "no:cacheprovider"])

    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("5 passed, 1 failed in ")


def test_runs_in_which_all_passes_have_not_failed() -> None:
    assert run_all([Run("well", ["test_well.py"])], ["-p", "no:cacheprovider"]) == 0


@pytest.mark.parametrize(("tests", "options"), [([], []), (["test_gone.py"], []), (["test_well.py"], ["-k", "last"])])
def test_a_run_without_a_test_has_failed(tests: list[str], options: list[str]) -> None:
    assert carry_out(Run("none", tests), ["-p", "no:cacheprovider", *options]).status


def test_a_run_that_failed_with_no_test_that_failed_is_told() -> None:
    ended = [Ended(0, Counter(passed=3)), Ended(1, Counter(passed=2))]
    assert summary(ended, 61.2) == "5 passed, 0 failed, 1 of 2 runs failed otherwise (see above) in 61 seconds"


def test_errors_are_failures_and_what_was_skipped_is_told() -> None:
    ended = [Ended(1, counts("1 failed, 2 passed, 1 skipped, 2 errors in 3.21s"))]
    assert summary(ended, 3.4) == "2 passed, 3 failed, 1 skipped in 3 seconds"
