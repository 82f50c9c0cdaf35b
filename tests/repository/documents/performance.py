"""What `make bench` measured in the whole run that was kept, as tables for docs/performance.md."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tests.repository.documents import ROOT

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


def parts() -> str:
    """Where the time of one certificate goes."""
    found = _kept()["details"]["issuing"]
    lines = ["| EC_P256 | microseconds |", "| --- | ---: |"]
    lines += [f"| {name} | {took:g} |" for name, took in found["microseconds"].items()]
    reading = ", ".join(f"{name} {took / 1000:.3g} ms" for name, took in found["microseconds_to_read_a_key"].items())
    return _text([*lines, "", f"To read a CA's key: {reading}."])


def sync() -> str:
    """Three syncs of the largest fleet, in docs/truststore.md."""
    details = _kept()["details"]
    fleet, grown = details["sync_fleet"]["full"], details["sync_growth"]
    runs = {
        "first": "the first: every anchor is an object of its own, and read once",
        "unchanged": "that finds nothing new",
        "after_an_upload": "after a partner's upload, with the update of the domain",
    }
    lines = ["| a sync | AWS calls | on the wall | of the processor | memory |", "| --- | ---: | ---: | ---: | ---: |"]
    for run, name in runs.items():
        it = fleet[run]
        seconds = f"{it['seconds']:.1f} s | {it['cpu_seconds']:.1f} s"
        lines.append(f"| {name} | {it['calls_total']:,} | {seconds} | {it['peak_mib']} MiB |")
    pages = fleet["unchanged"]["calls"]["secretsmanager:ListSecrets"]
    exponent = f"n to the {grown['cpu_exponent']:g} by the processor's time, {grown['calls_exponent']:g} by calls"
    words = f"{pages} of the {fleet['unchanged']['calls_total']} calls are pages of ListSecrets."
    return _text([*lines, "", f"{words} From a tenth of the fleet to all of it: {exponent}."])


def clients() -> str:
    """What a certificate that stays fresh costs a request, in docs/clients/python.md."""
    kept = _kept()
    lines = ["| | median request | static | ratio |", "| --- | ---: | ---: | ---: |"]
    for it in kept["figures"]:
        if it["against"] == "a static certificate":
            name = it["name"].removeprefix("a request with ").partition(",")[0]
            lines.append(f"| {name} | {it['value']:.3f} ms | {it['peer']:.3f} ms | {it['ratio']:g} |")
    reload = kept["details"]["client_reload"]
    words = (
        f"A reload holds a request up by {reload['median_ms']:.2f} ms in the median of {reload['reloads_met']} reloads"
    )
    return _text([*lines, "", f"{words}, and by {reload['p99_ms']:.2f} ms at the 99th percentile."])


def run() -> str:
    """How long each benchmark took."""
    seconds = _kept()["details"]["seconds"]
    each = ", ".join(f"`{name}` {took:.0f}" for name, took in seconds.items())
    return f"The run took {sum(seconds.values()) / 60:.1f} minutes; in seconds: {each}.\n"


def _kept() -> Any:
    return json.loads(KEPT.read_text())


def _text(lines: Iterable[str]) -> str:
    return "\n".join([*lines, ""])
