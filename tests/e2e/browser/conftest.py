"""A real browser, and pages of reports in it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from demo.browser import launched
from demo.page import render

type Opened = Callable[..., Page]


# While it is there, this thread has an event loop that runs, which `asyncio.run` in other tests would not have.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with launched() as started:
        yield started


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Opened]:
    """Opens the page of a report; no page may have said an error or asked for anything when the test ends."""
    contexts, wrong = [], []
    names = (tmp_path / f"report-{number}.html" for number in itertools.count())

    def open_page(report: dict[str, Any], *, width: int = 1280, height: int = 900, **options: Any) -> Page:
        file = next(names)
        file.write_text(render(report))
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("request", lambda asked: wrong.append(f"request: {asked.url}") if asked.url != file.as_uri() else None)
        page.goto(file.as_uri(), wait_until="load")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []
