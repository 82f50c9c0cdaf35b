"""How things look on a terminal: moments, days left, findings."""

from __future__ import annotations

import re
from datetime import UTC
from typing import TYPE_CHECKING

from rich.text import Text

from mtlsctl.report import Severity
from mtlsctl.terminal import in_one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from rich.console import RenderableType

    from mtlsctl.report import Finding


# A name with a CA's generation in it, as RFC 4514 writes one.
_GENERATION = re.compile(r",dnQualifier=([0-9a-f-]+)(?=,|$)")


def distinguished_name(text: str) -> str:
    """A distinguished name for a column of a table, which a CA's generation would make wide: it goes below."""
    found = _GENERATION.search(text)
    return f"{text[: found.start()]}{text[found.end() :]}\n{found[1]}" if found else text


def moment(at: datetime | None) -> str:
    """A moment in UTC, to the minute."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}Z" if at else "-"


def day(at: datetime | None) -> str:
    """A day in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d}" if at else "-"


def days(left: float | None, *, warn: bool) -> Text:
    """Days left, coloured."""
    if left is None:
        return Text("-")
    return Text(f"{left:.1f}" if left < 10 else f"{left:.0f}", style="bold red" if warn else "green")


def shown(findings: Iterable[Finding], all_well: str) -> Iterator[RenderableType]:
    """What needs attention, or that nothing does. Commands stand on lines of their own, to be copied."""
    findings = list(findings)
    if not findings:
        yield Text(f"✓ {all_well}", style="bold green")
    for it in findings:
        attention = it.severity is Severity.ATTENTION
        style = "bold red" if attention else "yellow"
        yield line(("✗ " if attention else "? ", style), (it.subject, "bold"), (f": {it.what}", ""))
        yield line(("  → ", "dim"), (it.remedy, ""), (f"  # {it.runbook}" if it.runbook else "", "dim"))


def line(*parts: tuple[str, str]) -> Text:
    """One line, however long: the terminal wraps it, and what is copied has no break in it."""
    return Text.assemble(*((in_one_line(text), style) for text, style in parts), no_wrap=True, overflow="ignore")
