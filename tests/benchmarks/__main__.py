"""`make bench`: measure, print a table, write `build/bench/results.json`."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks import calls, clients, fleet, issuing

RESULTS = Path(__file__).resolve().parents[2] / "build" / "bench" / "results.json"


def main() -> None:
    """Run every benchmark."""
    issued, steps = issuing.measure(), calls.count()
    total = sum(sum(step.values()) for step in steps.values())
    fleets = {name: fleet.measure(size) for name, size in (("tenth", fleet.TENTH), ("full", fleet.FULL))}
    growth = fleet.growth(fleets["tenth"], fleets["full"])
    results: dict[str, Any] = {
        "issuing_ec_p256": issued,
        "rotation_calls": steps,
        "rotation_calls_total": total,
        "sync_fleet": fleets,
        "sync_growth": growth,
        "client_overhead": clients.overhead(),
        "client_reload": clients.reload(),
        "client_load": clients.under_load(),
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")

    table = Table("what", "measured", "limit or detail")
    table.add_row(
        "issue one EC_P256 certificate, one core",
        f"{issued['certificates_per_second']}/s",
        f"{issued['ratio']} of key generation and one signature ({issued['ratio_min']} to {issued['ratio_max']})",
    )
    for step, made in steps.items():
        table.add_row(
            f"AWS calls of {step}", str(sum(made.values())), ", ".join(f"{n} {name}" for name, n in made.items())
        )
    table.add_row("AWS calls of a rotation", str(total), "the CA is trusted already")
    for measured in fleets.values():
        for run in fleet.RUNS:
            took = measured[run]
            table.add_row(
                f"sync of {measured['secrets']} secrets, {measured['uploads']} uploads: {run.replace('_', ' ')}",
                f"{took['calls_total']} AWS calls",
                f"{took['seconds']} s, {took['cpu_seconds']} s of them its own, {took['peak_mib']} MiB",
            )
    table.add_row(
        "growth of the sync from a tenth of the fleet to all of it",
        f"n^{growth['cpu_exponent']}",
        f"by processor time; n^{growth['calls_exponent']} by AWS calls",
    )
    for row in clients.rows(results["client_overhead"], results["client_reload"], results["client_load"]):
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
