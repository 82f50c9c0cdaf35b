"""The page of a run: `report.json` as one HTML file that loads nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

_HERE = Path(__file__).parent


def render(report: dict[str, Any]) -> str:
    """The page of a report.

    Args:
        report: what `report.json` holds.
    """
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    style = Markup((_HERE / "page.css").read_text("utf-8"))  # noqa: S704 - ours, and goes in as it is
    return templates.get_template("report.html.j2").render(report=report, style=style)
