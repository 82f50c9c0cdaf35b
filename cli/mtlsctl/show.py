"""How things look on a terminal: moments, days left, findings."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from mtlsctl.report import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from rich.console import RenderableType

    from mtlsctl.report import Finding

_STYLES = {Severity.ATTENTION: "bold red", Severity.UNKNOWN: "yellow"}


def moment(at: datetime | None) -> str:
    """A moment in UTC, to the minute."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}Z" if at else "-"


def days(left: float | None, *, warn: bool) -> Text:
    """Days left, coloured."""
    if left is None:
        return Text("-")
    return Text(f"{left:.1f}" if left < 10 else f"{left:.0f}", style="bold red" if warn else "green")


def findings_table(findings: Iterable[Finding], all_well: str) -> Iterator[RenderableType]:
    """What needs attention, or that nothing does."""
    findings = list(findings)
    if not findings:
        yield Text(f"✓ {all_well}", style="bold green")
        return
    table = Table("", "what about", "what is wrong", "what to do", "runbook")
    for it in findings:
        style = _STYLES[it.severity]
        mark = "✗" if it.severity is Severity.ATTENTION else "?"
        table.add_row(Text(mark, style=style), Text(it.subject), Text(it.what), Text(it.remedy), Text(it.runbook))
    yield table
