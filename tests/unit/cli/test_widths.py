"""However narrow a screen is: names and days left are whole, in what every command reports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from enum import Enum
from io import StringIO
from itertools import count
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from rich.text import Text

from mtls_rotation.contract.labels import SIGNING_REQUEST, UNTESTED, issues_until
from mtlsctl.app import REPORTS
from mtlsctl.commands.explain import ExplainReport
from mtlsctl.report import Model, Report
from mtlsctl.show import Column, FittingTable
from mtlsctl.terminal import Terminal
from tests.kit.builders import NOW

OWN_LABELS = [SIGNING_REQUEST, UNTESTED, issues_until(NOW + timedelta(days=20))]
DAYS = 1095


def reports() -> list[type[Report]]:
    """What any command reports; explain shows the runbook, whose text has no names."""
    kinds = {kind for it in REPORTS.values() for kind in (get_args(it) or (it,))}
    return sorted(kinds - {ExplainReport}, key=lambda it: it.__name__)


def made(kind: Any, names: Iterator[int], member: str = "") -> Any:
    """Something of a type, in which every string is a name of its own, and long."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {UnionType, Union}:
        return made(next(it for it in arguments if it is not NoneType), names, member)
    if origin is Literal:
        return arguments[0]
    if origin is list:
        return OWN_LABELS if member in {"labels", "stages"} else [made(arguments[0], names, member) for _ in range(2)]
    if origin is dict:
        return {made(arguments[0], names): made(arguments[1], names, member) for _ in range(2)}
    if kind is str:
        name = next(names)
        if member in {"subject", "issuer"}:
            return f"CN=The {name}th Certification Authority,O=Example Trading (Nordic) AS,C=NO"
        return f"mtls-rotation/a-service-with-quite-a-long-name-{name}/client.example.com"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind))
    if isinstance(kind, type) and issubclass(kind, Model):
        return kind(**{name: made(it.annotation, names, name) for name, it in kind.model_fields.items()})
    return {bool: True, int: 1, float: float(DAYS), Any: "a"}.get(kind, NOW)


def shown(report: Report | FittingTable, width: int) -> str:
    out = StringIO()
    terminal = Terminal(file=out, force_terminal=True, color_system=None, width=width)
    for part in report.render() if isinstance(report, Report) else [report]:
        terminal.print(part, soft_wrap=isinstance(part, Text) and bool(part.no_wrap))
    return out.getvalue()


@pytest.mark.parametrize("kind", reports(), ids=lambda it: str(it.__name__))
def test_names_and_days_left_are_whole_on_any_screen(kind: type[Report]) -> None:
    report = made(kind, count(1))
    names = set(re.findall(r"CN=The [^\"]*C=NO|mtls-rotation/[^\"]*\.com", report.model_dump_json()))

    wide = shown(report, 2_000)

    assert names
    assert "MTLS-" not in wide
    for narrow in (shown(report, width) for width in (100, 80, 40)):
        assert {it for it in names if it in wide} == {it for it in names if it in narrow}
        assert wide.count(str(DAYS)) == narrow.count(str(DAYS))


@pytest.mark.parametrize("width", [80, 40, 20])
def test_a_table_is_never_wider_than_the_screen_it_is_a_list_before(width: int) -> None:
    table = FittingTable(Column(), Column("secret"), Column("why", whole=False), Column("days\nleft"))
    for name in ("a" * 12, "b" * 25):
        table.add_row("✓", name, "it is it hangs on it, and it was so before", str(DAYS))

    out = shown(table, width)

    assert ("days left: 1095" in out) == (width < 60)
    assert width == 20 or max(map(len, out.splitlines())) <= width
