"""How things look on a terminal: moments, days left, tables, findings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from mtls_rotation.contract.labels import SIGNING_REQUEST, UNTESTED, end_of_issuing
from mtlsctl.report import Severity
from mtlsctl.terminal import between_words, in_one_line, tame, words_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from mtlsctl.report import Finding, PastFinding


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


def label_in_words(label: str) -> str:
    """A staging label as a person is told of it: our own are nobody else's business, Secrets Manager's are."""
    words = {SIGNING_REQUEST: "not signed", UNTESTED: "not tested"}
    end = end_of_issuing(label)
    return f"issues until {day(end)}" if end else words.get(label, label)


def days(left: float | None, *, warn: bool) -> Text:
    """Days left, coloured."""
    if left is None:
        return Text("-")
    return Text(f"{left:.1f}" if left < 10 else f"{left:.0f}", style="bold red" if warn else "green")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a `FittingTable`.

    Attributes:
        header: it may be empty, and have several lines.
        whole: whether what stands in it is never broken, as names and numbers are; else it is, between words.
    """

    header: str = ""
    whole: bool = True


# No column of words is narrower, if the words need more: on a narrower screen a list reads better.
_NARROW = 16


class FittingTable:
    """A table where a screen is wide enough for all that has to stay whole; else a list, with the same in it."""

    def __init__(self, *columns: Column) -> None:
        self._columns = columns
        self._rows: list[tuple[Text, ...]] = []

    def add_row(self, *cells: Text | str) -> None:
        """Add a row: a cell for each column. A cell may have several lines."""
        self._rows.append(tuple(map(_cell, cells)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        edges = Measurement.get(console, options.update_width(1000), self._table([1] * len(self._columns))).maximum
        widths = self._widths(options.max_width - edges + len(self._columns))
        if widths is None:
            yield from self._list(options.max_width)
        else:
            yield self._table(widths)

    def _widths(self, room: int) -> list[int] | None:
        """How wide each column is; None if what has to stay whole has no room."""
        cells = [[column.header, *(row[at].plain for row in self._rows)] for at, column in enumerate(self._columns)]
        widths = [_longest(line for it in texts for line in it.split("\n")) for texts in cells]
        least = [
            most if column.whole else min(most, max(_NARROW, _longest(word for it in texts for word in words_of(it))))
            for column, most, texts in zip(self._columns, widths, cells, strict=True)
        ]
        if sum(least) > room:
            return None
        while sum(widths) > room:
            widest = max((at for at, width in enumerate(widths) if width > least[at]), key=lambda at: widths[at])
            widths[widest] -= 1
        return widths

    def _table(self, widths: Sequence[int]) -> Table:
        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for column, width in zip(self._columns, widths, strict=True):
            table.add_column(column.header, width=width, overflow="fold")
        for row in self._rows:
            table.add_row(*(between_words(cell, width) for cell, width in zip(row, widths, strict=True)))
        return table

    def _list(self, width: int) -> Iterator[Text]:
        """Of each row first what it is about: the cells as far as the first one that stays whole and has a header."""
        title = next((at for at, it in enumerate(self._columns) if it.whole and it.header), 0) + 1
        for row in self._rows:
            yield _unbroken(Text(" ", style="bold").join(it for it in row[:title] if it.plain))
            for column, cell in zip(self._columns[title:], row[title:], strict=True):
                if cell.plain:
                    header = " ".join(column.header.split())
                    value = Text(", ").join(cell.split("\n"))
                    text = Text.assemble("  ", (f"{header}: " if header else "", "dim"), value)
                    yield _unbroken(text) if column.whole else between_words(text, width)
        yield Text()


def _cell(cell: Text | str) -> Text:
    text = Text(cell) if isinstance(cell, str) else cell.copy()
    text.plain = tame(text.plain).replace("\t", " ")
    return text


def _longest(texts: Iterable[str]) -> int:
    return max(map(cell_len, texts), default=0)


def _unbroken(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ignore"
    return text


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


def past(findings: Iterable[PastFinding]) -> Iterator[RenderableType]:
    """What was wrong and is so no more: nothing to do about."""
    for it in findings:
        what = (
            f"past: {it.subject}: {it.what}, last at {moment(it.at)}; since then, {it.mended} ({moment(it.mended_at)})"
        )
        yield line((f"· {what}", "dim"))


def line(*parts: tuple[str, str]) -> Text:
    """One line, however long: the terminal wraps it, and what is copied has no break in it."""
    return Text.assemble(*((in_one_line(text), style) for text, style in parts), no_wrap=True, overflow="ignore")
