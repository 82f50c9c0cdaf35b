"""`make bench`: measure, print tables, write `build/bench/results.json`, and tell what is worse than what was kept.

    python -m tests.benchmarks [NAME ...] [--keep]

`--keep` has the results stand for what is compared with, and for the figures of docs/performance.md: all of them, or
those of the benchmarks that were named in place of what was kept of these.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rich.console import Console

from demo import sam
from tests.benchmarks import calls, clients, cold_start, fleet, fleet_simulation, issuing, rotation, table, truststore
from tests.benchmarks.check import KEPT, RESULTS
from tests.benchmarks.figures import Results, compare
from tests.kit import change_sets

BENCHMARKS: dict[str, Callable[[], Results]] = {
    "cold_start": cold_start.measure,
    "issuing": issuing.measure,
    "calls": calls.measure,
    "rotation": rotation.measure,
    "fleet_simulation": fleet_simulation.measure,
    "truststore": truststore.measure,
    "sync": fleet.sync_results,
    "clients": clients.measure,
}


def main() -> None:
    """Run every benchmark, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(BENCHMARKS))
    parser.add_argument("--keep", action="store_true", help="keep the results for later ones to be compared with")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    change_sets.build()
    results, console, seconds = Results(), Console(), {}
    for name in arguments.names or BENCHMARKS:
        began = time.monotonic()
        found = BENCHMARKS[name]()
        found.figures = [replace(it, command=f"python -m tests.benchmarks {name}") for it in found.figures]
        results.add(found)
        seconds[name] = round(time.monotonic() - began, 1)
        console.print(f"{name}: {seconds[name]:.0f} s")
    results.details["seconds"] = seconds
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results.document(), indent=2) + "\n")
    show(results, console)
    if arguments.keep:
        kept = merged(json.loads(KEPT.read_text()), results.document()) if arguments.names else results.document()
        KEPT.write_text(json.dumps(kept, indent=2) + "\n")


def merged(kept: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What was kept, with what is new in its place."""
    figures = {it["name"]: it for it in kept["figures"]} | {it["name"]: it for it in now["figures"]}
    seconds = kept["details"]["seconds"] | now["details"]["seconds"]
    return {
        "figures": list(figures.values()),
        "calls": kept["calls"] | now["calls"],
        "limits": kept["limits"] | now["limits"],
        "details": kept["details"] | now["details"] | {"seconds": seconds},
    }


def show(results: Results, console: Console) -> None:
    """The tables, the goals that were missed, and what has become worse."""
    console.print(table.of(results.figures))
    console.print(table.of_calls(results))
    if "cold_start" in results.details:
        console.print(cold_start.rows(results))
    if "client_load" in results.details:
        for line in clients.rows(results.details):
            console.print(line)
    for line in results.missed:
        console.print(f"[yellow]missed[/yellow] {line}")
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else Results().document()
    for line in compare(kept, results.document()):
        console.print(f"[red]worse[/red] {line}")
    console.print(f"{RESULTS.relative_to(sam.ROOT)} written")


if __name__ == "__main__":
    main()
