"""The demo's page: `report.json` as one HTML file that loads nothing.

The data become what is drawn in `view.py`; `report.html.j2`, `page.css` and `page.js` say how it looks. The lines and
marks are drawn here and not by the script, so that the page works, and prints, without it.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from demo.page.view import View

_HERE = Path(__file__).parent


class PageError(Exception):
    """The report is not one that a page can be made of; the message says what is missing."""


def render(report: dict[str, Any]) -> str:
    """The page of a report.

    Args:
        report: what `report.json` holds.

    Raises:
        PageError: something that the page shows is not in it.
    """
    try:
        view = View.of(report)
    except KeyError as error:
        raise PageError(
            f"The report has no {error}, so that no page can be made of it. An earlier release made it: "
            "run `make demo` for one that has."
        ) from error
    style, script = ((_HERE / name).read_text("utf-8") for name in ("page.css", "page.js"))
    # Whatever stands in the report is text: jinja2 escapes it, in attributes and in the script's data too.
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    # The two files are ours, and go in as they are: the policy names the hashes of these very bytes.
    ours = {"style": Markup(style), "script": Markup(script)}  # noqa: S704
    return templates.get_template("report.html.j2").render(view=view, policy=_policy(style, script), **ours)


def _policy(style: str, script: str) -> str:
    """Nothing may be loaded, sent or run but the one style and the one script."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
