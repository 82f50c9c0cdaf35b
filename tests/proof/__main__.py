"""`make prove`: run every part, print a table, write `build/prove/report.json`. Fails if anything broke.

`make prove QUICK=1` runs a quick form of each: the tests in `tests/proof/quick`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from demo import sam
from tests.kit import change_sets
from tests.kit.runs import Run, files, run_all
from tests.proof import Outcome
from tests.proof.least_privilege.report import KEPT as USED

DIRECTORY = sam.ROOT / "build" / "prove"
REPORT = DIRECTORY / "report.json"
# The last full run that was kept: the figures in the documents are from it.
KEPT = sam.ROOT / "docs" / "prove.json"
# In the order of the table. Each runs in a process of its own, the longest first.
PARTS = (
    "bad_network",
    "soak",
    "least_privilege",
    "crash_points",
    "histories",
    "fuzz",
    "names",
    "paths",
    "key_material",
    "wrong_hands",
    "template",
)
AT_ONCE = 2
# The quick forms. What computes stands back for what sends requests.
LOADS = ("bad_network", "soak")
CLIENTS = ("clients", "proxy")
BUILT = ("artefacts", "package")
LIFE = ("least_privilege",)
HANDS = ("wrong_hands", "key_material", "edges")
QUICK = (
    Run("bad network, soak", files("tests/proof/quick", *LOADS)),
    Run("load on the clients and the proxy", files("tests/proof/quick", *CLIENTS)),
    Run("what is built and packaged", files("tests/proof/quick", *BUILT)),
    Run("least privilege", files("tests/proof/quick", *LIFE)),
    Run("wrong hands, key material, edges", files("tests/proof/quick", *HANDS)),
    Run(
        "crash points, histories, fuzz, paths, fleet",
        [
            "tests/proof/quick",
            *(f"--ignore={it}" for it in files("tests/proof/quick", *LOADS, *CLIENTS, *BUILT, *LIFE, *HANDS)),
        ],
        niceness=5,
    ),
)


def main() -> int:
    """Run all, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--keep", action="store_true", help="keep the report for the documents' figures, if all held")
    parser.add_argument("--rest", action="store_true", help="run what failed in the last run, or was not in it")
    parser.add_argument("--quick", action="store_true", help="run the quick forms of all parts, as tests")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if arguments.alone:
        return alone(*arguments.parts)
    change_sets.build()
    if arguments.quick:
        return run_all(QUICK, [])
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    held = held_before() if arguments.rest else {}
    wanted = [part for part in PARTS if part not in held and (not arguments.parts or part in arguments.parts)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ended = held | dict(zip(wanted, pool.map(run, wanted), strict=True))
    failed = report({part: ended[part] for part in PARTS if part in ended})
    if arguments.keep:
        if failed or arguments.parts:
            parser.error("what is kept is a whole run in which nothing failed")
        KEPT.write_text(REPORT.read_text())
        USED.write_text((DIRECTORY / "least_privilege" / USED.name).read_text())
    return failed


def held_before() -> dict[str, dict[str, Any]]:
    """The parts of the last report in which nothing failed, as they were."""
    last = json.loads(REPORT.read_text())
    return {part: {"commit": last["commit"]} | it for part, it in last["parts"].items() if not it["failures"]}


def commit() -> str | None:
    """What is tried."""
    told = subprocess.run(["git", "rev-parse", "HEAD"], cwd=sam.ROOT, capture_output=True, text=True, check=False)
    return told.stdout.strip() or None


def alone(part: str) -> int:
    """Run a part in this process, and write what it found."""
    began = time.monotonic()
    outcome = importlib.import_module(f"tests.proof.parts.{part}").run()
    write(part, outcome, time.monotonic() - began)
    return 0


def run(part: str) -> dict[str, Any]:
    """Run a part in a process of its own; what it found, or that it did not come to an end."""
    found, log = DIRECTORY / f"{part}.json", DIRECTORY / f"{part}.log"
    found.unlink(missing_ok=True)
    began = time.monotonic()
    with log.open("w") as output:
        ended = subprocess.run(
            [sys.executable, "-m", "tests.proof", "--alone", part],
            cwd=sam.ROOT,
            env=os.environ | {sam.ALREADY_BUILT: "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if ended.returncode or not found.exists():
        lines = log.read_text().splitlines()[-20:]
        failure = "\n".join([f"ended with status {ended.returncode}; {log.relative_to(sam.ROOT)} says:", *lines])
        write(part, Outcome(failures=[failure]), time.monotonic() - began)
    read: dict[str, Any] = json.loads(found.read_text())
    return read


def write(part: str, outcome: Outcome, seconds: float) -> None:
    """Keep what a part has found."""
    document = {"commit": commit(), "seconds": round(seconds, 1), **asdict(outcome)}
    (DIRECTORY / f"{part}.json").write_text(json.dumps(document, indent=2) + "\n")


def report(ended: dict[str, dict[str, Any]]) -> int:
    """Show what was tried, write it down, and say whether all held."""
    failed = sum(len(part["failures"]) for part in ended.values())
    document = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "failed": failed,
        "parts": ended,
    }
    REPORT.write_text(json.dumps(document, indent=2) + "\n")
    console, table = Console(), Table("part", "tried", "failed", "seconds")
    for part, found in ended.items():
        tried = "\n".join(f"{name.replace('_', ' ')}: {_short(count)}" for name, count in found["counts"].items())
        table.add_row(part.replace("_", " "), escape(tried), str(len(found["failures"])), f"{found['seconds']:.0f}")
    console.print(table)
    for part, found in ended.items():
        for failure in found["failures"]:
            console.print(f"[red]{part}[/red]: {escape(failure)}")
    console.print(f"{REPORT.relative_to(sam.ROOT)} written; {failed or 'nothing'} failed")
    return int(failed > 0)


def _short(count: Any) -> str:
    if isinstance(count, dict):
        return ", ".join(f"{name} {_short(value)}" for name, value in count.items())
    return f"{count:,}" if isinstance(count, int) else str(count)


if __name__ == "__main__":
    sys.exit(main())
