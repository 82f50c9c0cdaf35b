"""`make check`: style of what has changed, types, and the unit tests in two runs at once, the touched rooms first.

For the time between two edits. `make lint` and `make test` look at everything.
"""

from __future__ import annotations

import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "tests" / "unit"
# That the trials of `make prove` see what they look for: for `make test`.
APART = UNIT / "proof"
# How long each module took the last time, by which the next run is parted.
REPORTS = ROOT / "build" / "tests" / "check"
TYPED = (
    *("layers/rotation/mtls_rotation", "cli/mtlsctl", "client/mtls_client", "sidecar/mtls_sidecar"),
    *("localaws", "demo", "acceptance", "tests"),
)
AT_ONCE = 2
# Bytes of a module that was in no run yet, for each second that it may take.
BYTES_A_SECOND = 9000


@dataclass(frozen=True)
class Ended:
    """What has ended.

    Attributes:
        output: what it said; shown where it failed.
    """

    name: str
    passed: bool
    seconds: float
    output: str


def main() -> int:
    """Run all, say of each how it ended, and fail if one failed."""
    touched = changed()
    runs: list[Callable[[], Ended]] = [lambda: lint(touched), lambda: types(touched)]
    for number, modules in enumerate(parted(unit_tests(), seconds(), AT_ONCE), 1):
        first = in_order(modules, touched)
        runs.append(lambda number=number, first=first: test(number, first))  # type: ignore[misc]
    passed = True
    with ThreadPoolExecutor(len(runs)) as pool:
        for ended in as_completed([pool.submit(run) for run in runs]):
            it = ended.result()
            print(f"{'✓' if it.passed else '✗'} {it.name} ({it.seconds:.0f} s)", flush=True)
            print(*([] if it.passed else [it.output]), end="", flush=True)
            passed &= it.passed
    return 0 if passed else 1


# what has changed -----------------------------------------------------------------------------------------------------


def changed(root: Path = ROOT) -> list[str]:
    """The files that differ from where this branch left the main one, in commits or not, and those new to git."""
    found = [it for it in ("origin/main", "main") if not _git(root, "rev-parse", "--verify", "--quiet", it).returncode]
    base = _git(root, "merge-base", "HEAD", *found[:1]).stdout.strip() or "HEAD"
    differing = _git(root, "diff", "--name-only", "-z", "--diff-filter=d", base).stdout
    new = _git(root, "ls-files", "-z", "--others", "--exclude-standard").stdout
    return sorted({it for it in (differing + new).split("\0") if it})


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)


# lint and types -------------------------------------------------------------------------------------------------------


def lint(touched: list[str]) -> Ended:
    """The style of the files that have changed."""
    python = [it for it in touched if it.endswith(".py")]
    if not python:
        return Ended("style: no Python has changed", passed=True, seconds=0.0, output="")
    return ran(f"style of {len(python)} files", [["ruff", "check", *python], ["ruff", "format", "--check", *python]])


def types(touched: list[str]) -> Ended:
    """All types: an edit may break those of a module that uses what was edited. mypy keeps what has not changed."""
    functions = sorted({str(Path(it).parent) for it in touched if it.endswith("/app.py")})
    return ran("types", [["mypy", *TYPED], *(["mypy", it] for it in functions)])


def ran(name: str, commands: Iterable[list[str]]) -> Ended:
    """Run modules of Python one after the other, each with its arguments."""
    began, passed, output = time.monotonic(), True, ""
    for command in commands:
        finished = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        passed &= finished.returncode == 0
        output += finished.stdout
    return Ended(name, passed, time.monotonic() - began, output)


# tests ----------------------------------------------------------------------------------------------------------------


def unit_tests() -> list[str]:
    """The modules with unit tests."""
    return [str(it.relative_to(ROOT)) for it in sorted(UNIT.rglob("test_*.py")) if not it.is_relative_to(APART)]


def parted(modules: Sequence[str], seconds: dict[str, float], parts: int) -> list[list[str]]:
    """Modules in so many parts that take about the same time."""
    lists: list[list[str]] = [[] for _ in range(parts)]
    taken = [0.0] * parts
    guessed = {it: (ROOT / it).stat().st_size / BYTES_A_SECOND for it in modules if it not in seconds}
    for length, module in sorted(((guessed | seconds)[it], it) for it in modules)[::-1]:
        least = taken.index(min(taken))
        lists[least].append(module)
        taken[least] += length
    return lists


def in_order(modules: Iterable[str], touched: Iterable[str]) -> list[str]:
    """The order in which modules are run: changed ones first, then those of rooms in which something has changed."""
    names = set(touched)
    rooms = {part for it in names for part in Path(it).parts[:-1]}
    return sorted(modules, key=lambda it: (it not in names, Path(it).parent.name not in rooms, it))


def test(number: int, modules: list[str]) -> Ended:
    """Run tests, and keep how long they took."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    report = f"--junitxml={REPORTS / f'{number}.xml'}"
    return ran(f"unit tests, part {number}", [["pytest", "-q", "--no-header", report, *modules]])


def seconds(reports: Path = REPORTS) -> dict[str, float]:
    """How long each module took the last time it was run."""
    found: dict[str, float] = defaultdict(float)
    for report in reports.glob("*.xml"):
        for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest has written it
            # A class within a module has a name that begins with a capital.
            parts = [it for it in case.get("classname", "").split(".") if not it[:1].isupper()]
            found[f"{'/'.join(parts)}.py"] += float(case.get("time", 0))
    return dict(found)


if __name__ == "__main__":
    sys.exit(main())
