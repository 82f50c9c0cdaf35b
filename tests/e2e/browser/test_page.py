"""The demo's page in a real browser: it draws what the report holds, loads nothing, and can be read by everybody."""

from __future__ import annotations

import base64
import json
import re
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from demo.page import render
from tests.e2e.browser import colours
from tests.e2e.browser.conftest import Opened
from tests.e2e.browser.reports import HOSTILE, SERIALS, document, hostile, report

SCHEMES = ["light", "dark"]
FAILED = {"AWSCURRENT": {130: "ConnectError: reset", 131: "ConnectError: reset"}, "AWSPREVIOUS": {50: "status 403: no"}}
# What the script sees of each mark: where it is on the screen, and in which certificate's colour.
MARKS = """() => [...document.querySelectorAll('.lane')].flatMap(lane => {
  const box = lane.getBoundingClientRect(), total = lane.querySelector('svg[viewBox]').viewBox.baseVal.width;
  return [...lane.querySelectorAll('path.dots')].flatMap(path =>
    [...path.getAttribute('d').matchAll(/M(\\S+) (\\S+?)h0/g)].map(([, x, y]) => ({
      lane: Number(lane.dataset.lane), style: path.getAttribute('class').match(/s\\d/)[0],
      x: box.left + box.width * x / total, y: box.top + Number(y)})));
})"""


@pytest.fixture(scope="module")
def good() -> dict[str, Any]:
    return document(report())


@pytest.fixture(scope="module")
def bad() -> dict[str, Any]:
    return document(report(FAILED, trouble="AccessDenied", unknown_ca_refused=False))


def pixels(browser: Browser, page: Page, points: list[tuple[float, float]]) -> list[tuple[int, int, int]]:
    """The colours on the screen at some points."""
    shot = base64.b64encode(page.screenshot()).decode()
    other = browser.new_page()
    found: list[list[int]] = other.evaluate(
        """async ([shot, points]) => {
          const bytes = Uint8Array.from(atob(shot), it => it.charCodeAt(0));
          const image = await createImageBitmap(new Blob([bytes], {type: 'image/png'}));
          const on = new OffscreenCanvas(image.width, image.height).getContext('2d');
          on.drawImage(image, 0, 0);
          return points.map(([x, y]) => [...on.getImageData(Math.floor(x), Math.floor(y), 1, 1).data.slice(0, 3)]);
        }""",
        [shot, points],
    )
    other.close()
    return [(red, green, blue) for red, green, blue in found]


def told(page: Page, section: str = "timeline") -> str:
    """What is said below the drawing of a section."""
    return page.locator(f"section[aria-labelledby='{section}'] .detail").inner_text()


# What is drawn --------------------------------------------------------------------------------------------------------


def test_every_request_is_a_mark_in_the_lane_of_its_application(opened: Opened, bad: dict[str, Any]) -> None:
    page = opened(bad)
    marks = page.evaluate(MARKS)
    for index in range(len(bad["timeline"]["lanes"])):
        sent = [mark for mark in bad["timeline"]["requests"] if mark[4] == index]
        failed = page.locator(f".lane[data-lane='{index}'] .failure").count()
        assert failed == sum(mark[3] is not None for mark in sent) > 0
        assert sum(mark["lane"] == index for mark in marks) + failed == len(sent)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_mark_is_seen_in_the_colour_of_its_certificate(
    opened: Opened, browser: Browser, good: dict[str, Any], scheme: str
) -> None:
    page = opened(good, height=1800, color_scheme=scheme)
    marks = page.evaluate(MARKS)
    assert {mark["style"] for mark in marks} == {f"s{number}" for number in range(len(SERIALS))}
    palette = {style: colours.of(page, f".swatch .{style}", "stroke") for style in {mark["style"] for mark in marks}}
    palette["ground"] = colours.of(page, ".scroll", "backgroundColor")

    seen = pixels(browser, page, [(mark["x"], mark["y"]) for mark in marks])
    nearest = [min(palette, key=lambda name: colours.difference(colour, palette[name])) for colour in seen]
    # Marks lie over one another where the certificate changes, and nowhere else.
    right = sum(name == mark["style"] for name, mark in zip(nearest, marks, strict=True))
    assert right > 0.97 * len(marks)
    assert "ground" not in nearest


def test_a_failed_request_is_a_red_cross_over_a_line_through_its_lane(
    opened: Opened, browser: Browser, bad: dict[str, Any]
) -> None:
    page = opened(bad, height=1800)
    crosses = [cross.bounding_box() for cross in page.locator(".failure .failed-cross").all()]
    lines = [line.bounding_box() for line in page.locator(".failure .failed-line").all()]
    places = [(it["x"] + it["width"] / 2, it["y"] + it["height"] / 2) for it in [*crosses, *lines] if it]
    assert len(places) == 6
    red = colours.of(page, ".failure .failed-cross", "stroke")
    assert all(colours.difference(colour, red) < 25 for colour in pixels(browser, page, places))
    assert all(it and it["height"] > 70 for it in lines)


def test_the_steps_of_each_rotation_are_where_and_as_long_as_they_were(opened: Opened, good: dict[str, Any]) -> None:
    page = opened(good)
    for row, zero in ((".timeline", None), (".gantt", 0.0)):
        charts = page.locator(f"{row} svg.chart:has(.create)").all()
        scale = page.evaluate("JSON.parse(document.getElementById('data').textContent).total")
        if row == ".gantt":
            scale = max(
                step["began_ms"] + step["ms"] - it["began_ms"]
                for it in good["rotations"]
                for step in it["runs"][-1]["steps"].values()
            )
        drawn = sorted(
            tuple(round(float(rect.get_attribute(name).rstrip("%")) / 100 * scale) for name in ("x", "width"))  # type: ignore[union-attr]
            for chart in charts
            for rect in chart.locator(".bar > rect").all()
        )
        there = sorted(
            (round(step["began_ms"] - (it["began_ms"] if zero is not None else 0)), round(step["ms"]))
            for it in good["rotations"]
            for step in it["runs"][-1]["steps"].values()
        )
        assert len(drawn) == len(there) == 20
        assert all(abs(a - b) <= 2 for x, y in zip(drawn, there, strict=True) for a, b in zip(x, y, strict=True))


def test_truststores_the_partner_and_the_checks_are_told_with_their_times(opened: Opened, good: dict[str, Any]) -> None:
    page = opened(good)
    labels = [mark.get_attribute("aria-label") or "" for mark in page.locator(".timeline .mark").all()]
    for words in (
        "Truststore 33cc44dd, published from 4.10 s: 2 anchors: 2x CN=demo CA",
        "Truststore 33cc44dd, run by the gateway from 5.70 s: 2 anchors: 2x CN=demo CA",
        "Truststore 11aa22bb, run by the gateway from before the first request: 1 anchor: CN=demo CA",
        "Partner's CA uploaded at 10.40 s, its client accepted at 14.00 s: 3.6 s later",
        "control: accepted, as it must be, at 14.00 s",
        "unknown CA: refused, as it must be, at 14.08 s. The client was told: ReadError: reset",
    ):
        assert words in labels
    assert page.locator(".cards li.good").count() == 4


def test_the_headline_says_that_nothing_failed(opened: Opened, good: dict[str, Any]) -> None:
    page = opened(good)
    assert page.locator("h1").inner_text().split() == ["0", "failed", "of", "800", "requests"]
    assert page.locator("header.kept").count() == 1
    assert page.title().startswith("0 of 800 requests failed")
    assert page.get_by_text("The promise was not kept").count() == 0


def test_the_headline_says_what_failed_and_the_page_how(opened: Opened, bad: dict[str, Any]) -> None:
    page = opened(bad)
    assert page.locator("h1").inner_text().split()[:2] == ["3", "failed"]
    assert page.locator("header.broken").count() == 1
    rows = [row.inner_text() for row in page.locator("section:has(#failures) tbody tr").all()]
    assert [re.sub(r"\s+", " ", row) for row in rows] == [
        "✕ ConnectError: reset 2 3.25 s c2d6 AWSCURRENT",
        "✕ status 403: no 1 3.75 s 4b1e AWSPREVIOUS",
    ]
    assert [it.inner_text() for it in page.locator(".problems li").all()] == bad["problems"]
    assert page.locator(".cards li.bad").inner_text().split("\n")[0] == "unknown CA"
    assert "accepted, and must be refused" in page.locator(".cards li.bad").inner_text()
    stopped = page.locator(".timeline .stopped").first.get_attribute("aria-label") or ""
    assert "attempt 1" in stopped
    assert "Failed: setSecret: AccessDenied" in stopped


# What may stand in it -------------------------------------------------------------------------------------------------


def test_whatever_stands_in_the_report_stays_text(opened: Opened) -> None:
    spoilt = hostile()
    page = opened(spoilt)
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2
    assert page.evaluate("JSON.parse(document.getElementById('data').textContent).failures") == [f"{HOSTILE}status 500"]
    assert f"{HOSTILE}status 500" in (page.locator("td.text").text_content() or "")
    assert page.locator(".problems li").first.text_content() == spoilt["problems"][0]
    # What the script says of a mark is text as well.
    page.locator(".lane").first.focus()
    page.keyboard.press("f")
    assert "onerror" in (page.locator(".detail").first.text_content() or "")
    for mark in page.locator(".mark").all():
        mark.dispatch_event("pointerenter")
    assert page.locator("img").count() == 0
    assert page.evaluate("window.hacked") is None


def test_the_policy_lets_nothing_run_or_load_but_what_the_page_came_with(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(render(document(report())))
    page = browser.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    policy = page.locator("meta[http-equiv='Content-Security-Policy']").get_attribute("content") or ""
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    blocked: list[str] = page.evaluate(
        """() => new Promise(resolve => {
          const seen = [];
          document.addEventListener('securitypolicyviolation', event => {
            seen.push(event.effectiveDirective);
            if (seen.length == 4) resolve(seen.sort());
          });
          setTimeout(() => resolve(seen.sort()), 5000);
          const add = (name, fields) => document.body.append(Object.assign(document.createElement(name), fields));
          add('script', {textContent: 'window.hacked = 1'});
          add('style', {textContent: 'body { display: none }'});
          add('img', {src: 'http://localhost:9/picture'});
          add('iframe', {src: 'http://localhost:9/frame'});
        })"""
    )
    assert [name.removesuffix("-elem") for name in blocked] == ["frame-src", "img-src", "script-src", "style-src"]
    assert page.evaluate("window.hacked") is None
    page.close()


def test_the_page_stands_without_its_script(opened: Opened, bad: dict[str, Any]) -> None:
    page = opened(bad, java_script_enabled=False)
    assert page.locator("h1").inner_text().split()[:2] == ["3", "failed"]
    assert page.locator(".failure").count() == 3
    page.locator("label[for='zoom-4']").click()
    box = page.locator(".canvas").bounding_box()
    assert box is not None
    assert box["width"] > 4000


# Who reads it, and on what --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["good", "bad", "hostile"])
def test_the_page_never_scrolls_sideways_but_the_time_line_may(
    opened: Opened, good: dict[str, Any], bad: dict[str, Any], which: str
) -> None:
    page = opened({"good": good, "bad": bad, "hostile": hostile()}[which])
    page.locator("label[for='zoom-8']").click()
    for width in (1280, 768, 360, 320):
        page.set_viewport_size({"width": width, "height": 740})
        assert page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)") <= width
        inside = page.locator(".scroll")
        assert inside.evaluate("it => it.scrollWidth > it.clientWidth")
        inside.evaluate("it => it.scrollTo(500, 0)")
        assert inside.evaluate("it => it.scrollLeft") == 500


def test_on_a_phone_text_is_large_enough_to_read(opened: Opened, good: dict[str, Any]) -> None:
    page = opened(good, width=360)
    sizes = page.evaluate(
        """() => [...document.querySelectorAll('body *:not(script)')]
          .filter(it => [...it.childNodes].some(node => node.nodeType == 3 && node.data.trim()))
          .map(it => parseFloat(getComputedStyle(it).fontSize))"""
    )
    assert min(sizes) >= 12


@pytest.mark.parametrize("which", ["good", "bad"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_all_text_and_every_mark_stands_out(
    opened: Opened, good: dict[str, Any], bad: dict[str, Any], scheme: str, which: str
) -> None:
    page = opened({"good": good, "bad": bad}[which], color_scheme=scheme)
    faint = [it for it in colours.texts(page) if it.ratio < 4.5]
    assert faint == []
    marks = colours.marks(page)
    assert len(marks) > 40
    assert [it for it in marks if it.ratio < 3] == []


def test_dark_is_dark_and_light_is_light(opened: Opened, good: dict[str, Any]) -> None:
    light, dark = (
        colours.luminance(colours.of(opened(good, color_scheme=scheme), "body", "backgroundColor"))
        for scheme in SCHEMES
    )
    assert light > 0.8
    assert dark < 0.05


@pytest.mark.parametrize("scheme", SCHEMES)
def test_certificates_of_one_shape_differ_for_the_colour_blind_too(
    opened: Opened, good: dict[str, Any], scheme: str
) -> None:
    page = opened(good, color_scheme=scheme)
    legend = [
        (colours.of(page, f".legend .s{number}", "stroke"), page.locator(f".legend .s{number}.square").count())
        for number in range(len(SERIALS))
    ]
    assert [square for _, square in legend] == [0, 1, 0, 1, 0]
    for sight in colours.SIGHTS:
        for (one, its_shape), (other, other_shape) in combinations(legend, 2):
            distance = colours.difference(colours.seen_by(one, sight), colours.seen_by(other, sight))
            assert distance > (15 if its_shape == other_shape else 12), (sight, one, other)


def test_every_mark_is_reached_and_told_by_the_keyboard(opened: Opened, bad: dict[str, Any]) -> None:
    page = opened(bad)
    # One stop of Tab for a row, however many marks it has.
    stops = page.evaluate(
        """() => [...document.querySelectorAll('svg.chart:has(.mark)')]
          .map(row => row.querySelectorAll(".mark[tabindex='0']").length)"""
    )
    assert stops == [1] * 11
    reached, last = [], 0
    for _ in range(80):
        page.keyboard.press("Tab")
        at = page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)")
        if at <= last:
            break
        last = at
        focused = page.locator("*:focus")
        reached.append(focused.get_attribute("class") or focused.evaluate("it => it.tagName"))
        seen = focused.evaluate(
            """it => [it, ...it.querySelectorAll('rect')].some(part => {
              const style = getComputedStyle(part);
              return parseFloat(style.outlineWidth) >= 2 && style.outlineStyle != 'none'
                || part.tagName == 'rect' && parseFloat(style.strokeWidth) > 2.5;
            }) || getComputedStyle(it.nextElementSibling ?? it).outlineStyle == 'solid'"""
        )
        assert seen, reached
        if "mark" in reached[-1].split():
            section = focused.evaluate("it => it.closest('section').getAttribute('aria-labelledby')")
            assert told(page, section) == focused.get_attribute("aria-label")
            # The arrow keys go through the marks of a row, each of which is told.
            row = focused.evaluate_handle("it => it.parentNode")
            count = row.evaluate("it => it.querySelectorAll(':scope > .mark').length")
            labels = {told(page, section)}
            for _ in range(count - 1):
                page.keyboard.press("ArrowRight")
                labels.add(told(page, section))
            assert len(labels) == count
            for _ in range(count - 1):
                page.keyboard.press("ArrowLeft")
    assert reached[0] == "skip"
    # Two rows of rotations, of truststores, one of the partner and of checks; five rotations of their own.
    assert sum("mark" in it.split() for it in reached) == 11
    assert sum("lane" in it.split() for it in reached) == 2


def test_the_requests_of_a_lane_are_gone_through_by_the_arrow_keys(opened: Opened, bad: dict[str, Any]) -> None:
    page = opened(bad)
    lane = page.locator(".lane").first
    page.locator(".scroll").focus()
    while not lane.evaluate("it => it == document.activeElement"):
        page.keyboard.press("Tab")

    assert told(page) == "AWSCURRENT, request 1 of 600. At 0.00 s, certificate 4b1e9c64: answered after 2500 ms"
    assert lane.get_attribute("aria-valuetext") == told(page)
    for key, number in {"ArrowRight": 2, "End": 600, "ArrowLeft": 599, "Home": 1, "PageDown": 41, "f": 131}.items():
        page.keyboard.press(key)
        assert lane.get_attribute("aria-valuenow") == str(number), key
    assert re.search(r"At 3.25 s, certificate c2d611f4: FAILED after \d+ ms: ConnectError: reset$", told(page))
    assert "wrong" in (page.locator(".detail").first.get_attribute("class") or "")
    page.keyboard.press("Escape")
    assert told(page).startswith("Point at a mark")


@pytest.mark.parametrize("how", ["mouse", "finger"])
def test_a_mark_is_told_by_pointing_at_it(opened: Opened, bad: dict[str, Any], how: str) -> None:
    page = opened(bad, width=360 if how == "finger" else 1280, has_touch=how == "finger")
    page.locator(".lane").first.scroll_into_view_if_needed()
    mark = next(it for it in page.evaluate(MARKS)[90:] if it["lane"] == 0)
    point = page.touchscreen.tap if how == "finger" else page.mouse.move
    point(mark["x"], mark["y"])
    assert re.fullmatch(r"AWSCURRENT, request 9\d of 600. At 2.\d\d s, certificate 4b1e9c64: answered .*", told(page))
    shown = page.locator("figcaption").bounding_box()
    assert shown is not None
    assert shown["y"] + shown["height"] <= 900

    cross = page.locator(".failure .failed-cross").first.bounding_box()
    assert cross is not None
    point(cross["x"] + 4, cross["y"] + 4)
    assert "FAILED" in told(page)


def test_a_screen_reader_is_told_the_story(opened: Opened, good: dict[str, Any]) -> None:
    page = opened(good)
    tree = page.locator("body").aria_snapshot()
    assert '- heading "0 failed of 800 requests" [level=1]' in tree
    assert tree.count("- table") == 4
    for name in ("Steps of the rotations of the client secret", "Truststore versions, gateway", "Checks"):
        assert f'- group "{name}"' in tree
    assert '- slider "Requests of the application that holds AWSCURRENT"' in tree
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('svg, [role]')].filter(it => !it.closest('[aria-hidden=true]')
          && !it.getAttribute('aria-label') && !document.getElementById(it.getAttribute('aria-labelledby')))
          .map(it => it.outerHTML.slice(0, 90))"""
    )
    assert unnamed == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(it => it.id)")
    assert len(ids) == len(set(ids))
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(it => Number(it.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_it_prints_whole_and_on_white(opened: Opened, bad: dict[str, Any]) -> None:
    page = opened(bad, width=700, color_scheme="dark")
    page.locator("label[for='zoom-4']").click()
    page.emulate_media(media="print")
    assert colours.of(page, "body", "backgroundColor") == (255, 255, 255)
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    assert page.locator(".canvas").evaluate("it => it.scrollWidth") <= 700
    assert page.locator(".failure .failed-cross").first.is_visible()
    assert [it for it in colours.texts(page) if it.ratio < 4.5] == []
    assert page.pdf().startswith(b"%PDF")


def test_the_tables_hold_what_the_terminal_prints(opened: Opened, good: dict[str, Any]) -> None:
    page = opened(good)
    rows = [
        re.sub(r"\s+", " ", row.inner_text()) for row in page.locator("section:has(#tables) tr:not(thead tr)").all()
    ]
    for row in (
        "client manual 4b1e→c2d6 0.31 s 0.08 s 0.04 s 0.13 s 0.06 s",
        "ca manual 0ca1→0ca2 2.07 s 0.08 s 1.80 s 0.13 s 0.06 s",
        "55ee66ff 3 10.50 s 13.90 s, to the end CN=Partner CA; CN=demo CA",
        f"requests sent 800 ({json.dumps(good['requests']['per_second'])} a second, a handshake each)",
        "requests failed 0",
        "truststore 55ee66ff… anchors: 3, deployed",
        "unknown ca refused",
        "build with sam build 5.8 s",
    ):
        assert row in rows
