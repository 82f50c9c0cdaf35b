"""What `make bench` measured in the whole run that was kept, as tables for docs/performance.md."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tests.documents import ROOT

KEPT = ROOT / "docs" / "bench.json"


def figures() -> str:
    """Every figure beside its peer or limit."""
    lines = ["| what | measured | beside | ratio, and its quartiles | goal |", "| --- | ---: | ---: | ---: | ---: |"]
    for it in _kept()["figures"]:
        goal = ""
        if it["goal"]:
            limit = it["goal"]["ratio"]
            met = it["ratio"] <= limit if it["better"] == "lower" else it["ratio"] >= limit
            goal = f"{'≤' if it['better'] == 'lower' else '≥'} {limit:g}: {'reached' if met else '**missed**'}"
        lines.append(
            f"| {it['name']} | {it['value']:,g} {it['unit']} | {it['peer']:,g} {it['unit']}: {it['against']} |"
            f" {it['ratio']:g} ({it['low']:g} to {it['high']:g}) | {goal} |"
        )
    return _text(lines)


def starts() -> str:
    """Each cold start in milliseconds, at full speed and at the function's share of a processor."""
    lines = [
        "| function | init | CPU | first event | CPU | init, throttled | first event, throttled | peak MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, it in _kept()["details"]["cold_start"].items():
        lines.append(f"| {name} | {' | '.join(f'{number:,.0f}' for number in it.values())} |")
    return _text(lines)


def layers() -> str:
    """How large each layer is."""
    lines = ["| layer | files | unpacked | zipped |", "| --- | ---: | ---: | ---: |"]
    for name, it in _kept()["details"]["layers"].items():
        sizes = (f"{it[size] / 1e6:.1f} MB" for size in ("unpacked", "zipped"))
        lines.append(f"| {name} | {it['files']} | {' | '.join(sizes)} |")
    return _text(lines)


def calls() -> str:
    """The AWS calls of a rotation, by step, and of a sync."""
    kept = _kept()
    lines = [
        "| | createSecret | setSecret | testSecret | finishSecret | all |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, steps in kept["details"]["rotation_calls"].items():
        numbers = [sum(made.values()) for made in steps.values()]
        limit = kept["limits"].get(name)
        goal = f", of at most {limit}" if limit else ""
        lines.append(f"| {name} | {' | '.join(map(str, numbers))} | **{sum(numbers)}**{goal} |")
    return _text(lines)


def steps() -> str:
    """How long each step takes on the local AWS."""
    lines = ["| milliseconds | rotate | AWS's template, empty |", "| --- | ---: | ---: |"]
    lines += [
        f"| {step} | {it['rotate']:g} | {it['template']:g} |"
        for step, it in _kept()["details"]["rotation_steps_ms"].items()
    ]
    return _text(lines)


def truststore() -> str:
    """Planning and checking, by anchors and certificates."""
    found = _kept()["details"]["truststore"]
    lines = [
        "| anchors | certificates | planned, CPU s | checked, CPU s | peak MiB |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {it['anchors']:,} | {it['certificates']:,} | {it['planned']:.3f} | {it['checked']:.3f} |"
        f" {it['peak_mib']:g} |"
        for it in found["sizes"]
    ]
    growth = ", ".join(f"{name} n^{value:g}" for name, value in found["growth"].items())
    return _text([*lines, "", f"Growth from a tenth to all: {growth} (seconds: both together)."])


def run() -> str:
    """How long each benchmark took."""
    seconds = _kept()["details"]["seconds"]
    each = ", ".join(f"`{name}` {took:.0f}" for name, took in seconds.items())
    return f"The run took {sum(seconds.values()) / 60:.1f} minutes; in seconds: {each}.\n"


def _kept() -> Any:
    return json.loads(KEPT.read_text())


def _text(lines: Iterable[str]) -> str:
    return "\n".join([*lines, ""])
