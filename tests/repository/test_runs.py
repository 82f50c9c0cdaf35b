"""Every test is run by `make test` or by `make prove QUICK=1`, once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.__main__ import PARTS, RUNS
from tests.kit.runs import LAST, ROOT, Run
from tests.proof.__main__ import QUICK


def covered(run: Run) -> Iterator[Path]:
    """The files of a run."""
    ignored = {ROOT / it.partition("=")[2] for it in run.tests if it.startswith("--ignore=")}
    for name in run.tests:
        place = ROOT / name
        for file in [place] if place.is_file() else place.rglob("test_*.py"):
            if not ignored & {file, *file.parents}:
                yield file


def test_every_test_is_in_one_run() -> None:
    times = Counter(file for run in (*RUNS, *QUICK) for file in covered(run))

    assert {file: times[file] for file in (ROOT / "tests").rglob("test_*.py")} == {
        file: 0 if file == ROOT / LAST else 1 for file in (ROOT / "tests").rglob("test_*.py")
    }


def test_the_parts_that_ci_runs_one_by_one_are_all_of_it() -> None:
    commands = (ROOT / ".ci" / "run").read_text().replace("\\\n", " ").splitlines()
    named = [found[1] for line in commands if (found := re.search(r"^[^#]*\bmake .*\btest\b.*\bONLY=(\w+)", line))]

    assert sorted(run.name for part in named for run in PARTS[part]) == sorted(run.name for run in RUNS)
