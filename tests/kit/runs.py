"""Several runs of pytest at once, each shown when it has ended, and what came of all of them in one line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from demo import sam

ROOT = Path(__file__).resolve().parents[2]
LAST = "tests/test_every_certificate.py"
# What pytest counts in the last line of a run, and which of it is no success.
_FAILURES = ("failed", "error", "errors")
_COUNT = re.compile(r"(\d+) (failed|passed|skipped|deselected|xfailed|xpassed|errors?)\b")


@dataclass(frozen=True)
class Run:
    """A run of pytest.

    Attributes:
        tests: its files and folders, and further arguments.
        niceness: how far it stands back where the processor is short: what computes, for what waits for an answer.
    """

    name: str
    tests: Sequence[str]
    niceness: int = 0


@dataclass(frozen=True)
class Ended:
    """A run that has ended.

    Attributes:
        status: pytest's: not 0 where a test failed, and where there was none.
        counts: outcome → how many tests.
    """

    status: int
    counts: Counter[str]


def files(folder: str, *names: str) -> list[str]:
    """The tests of those names in a folder."""
    return [str(file.relative_to(ROOT)) for name in names for file in sorted((ROOT / folder).glob(f"test_{name}.py"))]


def run_all(runs: Sequence[Run], options: Sequence[str]) -> int:
    """Run all of them at once.

    Args:
        runs: which.
        options: of pytest, for every run.

    Returns:
        The exit status: 1 if one run has failed, or had no test.
    """
    began = time.monotonic()
    with ThreadPoolExecutor(len(runs)) as pool:
        ended = list(pool.map(lambda it: carry_out(it, options), runs))
    print(summary(ended, time.monotonic() - began), flush=True)
    return int(any(it.status for it in ended))


def carry_out(run: Run, options: Sequence[str]) -> Ended:
    """Run some tests, and show what pytest said when it has ended."""
    began = time.monotonic()
    finished = subprocess.run(
        [*("nice", "-n", str(run.niceness)), sys.executable, "-m", "pytest", "-q", *run.tests, LAST, *options],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(f"{run.name}, in {time.monotonic() - began:.0f} s:\n{finished.stdout}", flush=True)
    found = counts(finished.stdout)
    # The last test is in every run: a run that had no other has tried nothing.
    return Ended(finished.returncode or int(found.total() - found["deselected"] < 2), found)


def environment() -> dict[str, str]:
    """That of a run: what is deployed was built; what is compiled is kept, as hundreds of processes import the same."""
    ours = os.environ | {sam.ALREADY_BUILT: "1"}
    ours.pop("PYTHONDONTWRITEBYTECODE", None)
    return ours


def counts(output: str) -> Counter[str]:
    """How many tests had which outcome, by the last line that says so."""
    for line in reversed(output.splitlines()):
        if found := _COUNT.findall(line):
            return Counter({outcome: int(count) for count, outcome in found})
    return Counter()


def summary(ended: Sequence[Ended], seconds: float) -> str:
    """What came of all runs, in a line."""
    total = sum((it.counts for it in ended), Counter[str]())
    otherwise = sum(1 for it in ended if it.status and not any(it.counts[outcome] for outcome in _FAILURES))
    told = [f"{total['passed']} passed", f"{sum(total[it] for it in _FAILURES)} failed"]
    told += [f"{total['skipped']} skipped"] if total["skipped"] else []
    told += [f"{otherwise} of {len(ended)} runs failed otherwise (see above)"] if otherwise else []
    return f"{', '.join(told)} in {seconds:.0f} seconds"
