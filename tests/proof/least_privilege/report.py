"""The report: everything that is granted, and on what it was used; and, kept from a full run, what was used in it."""

from __future__ import annotations

from pathlib import Path

from tests.proof.least_privilege.difference import Usage

# What was used in the last full run that was kept (`make prove`): a line for each grant.
KEPT = Path(__file__).with_name("used.txt")
_SHOWN = 3


def used(found: Usage) -> str:
    """What was used, a line for each grant."""
    return "".join(f"{it}\n" for it in sorted(found.used))


def write(found: Usage, path: Path) -> None:
    """Write it down, a line for each grant, and below it some of the resources that it was used on."""
    parts = []
    for grant in found.granted:
        resources = sorted(found.used.get(grant, set()))
        kind = "" if grant in found.alone or not resources else " (never the only one to allow it)"
        parts += [f"{grant}{kind}", *(f"    {it}" for it in resources[:_SHOWN])]
        if len(resources) > _SHOWN:
            parts.append(f"    and {len(resources) - _SHOWN} more")
        if not resources:
            parts.append("    not used")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*parts, ""]))
