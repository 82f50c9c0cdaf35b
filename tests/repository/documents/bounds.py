"""The table of the parameters that have bounds, from `template.yaml`: `docs/limits.md` holds it."""

from __future__ import annotations

from typing import Any

from tests.kit.template import template


def table() -> str:
    """A row for each parameter that is a number, or a text of limited length."""
    lines = ["| parameter | default | bounds |", "| --- | --- | --- |"]
    for name, it in template()["Parameters"].items():
        if bounds := _bounds(it):
            lines.append(f"| `{name}` | {'none' if it['Default'] == '' else it['Default']} | {bounds} |")
    return "\n".join([*lines, ""])


def _bounds(parameter: dict[str, Any]) -> str:
    if "MaxLength" in parameter:
        return f"{int(parameter['MaxLength']):,} characters"
    if parameter["Type"] != "Number":
        return ""
    if "AllowedValues" in parameter:
        return ", ".join(str(it) for it in parameter["AllowedValues"])
    return f"{int(parameter['MinValue']):,} to {int(parameter['MaxValue']):,}"
