"""What `make prove` tried in the last full run that was kept, as tables for the documents."""

from __future__ import annotations

import json
from typing import Any

from tests.repository.documents import ROOT

KEPT = ROOT / "docs" / "prove.json"
FAULTS = ("crash_points", "histories", "bad_network", "soak", "paths")
ATTACKS = ("key_material", "fuzz", "wrong_hands", "least_privilege", "template")


def faults() -> str:
    """What was tried against the promise."""
    return _table(FAULTS)


def attacks() -> str:
    """What was tried against keys and rights."""
    return _table(ATTACKS)


def _table(parts: tuple[str, ...]) -> str:
    if not KEPT.exists():
        return "No full run has been kept yet.\n"
    kept = json.loads(KEPT.read_text())
    parts = tuple(it for it in parts if it in kept["parts"])
    lines = ["| part | tried | failed |", "| --- | --- | --- |"]
    for part in parts:
        found = kept["parts"][part]
        tried = "<br/>".join(f"{name.replace('_', ' ')}: {_count(it)}" for name, it in found["counts"].items())
        lines.append(f"| `{part}` | {tried} | {len(found['failures'])} |")
    seconds = sum(kept["parts"][part]["seconds"] for part in parts)
    commits = sorted({kept["parts"][part]["commit"][:7] for part in parts})
    run = f"{kept['at'][:10]} at commit {' and '.join(f'`{it}`' for it in commits)}"
    lines += ["", f"Run on {run}: {seconds / 60:.0f} minutes, two parts at a time."]
    return "\n".join(lines) + "\n"


def _count(count: Any) -> str:
    if isinstance(count, dict):
        return ", ".join(f"{name.replace('|', '&#124;')} {_count(it)}" for name, it in count.items())
    return f"{count:,}" if isinstance(count, int) else str(count)
