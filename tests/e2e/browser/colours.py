"""Colours as a reader sees them: what stands on what in a page, how well it stands out, and to whom."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page

type Colour = tuple[int, int, int]

# Machado, Oliveira and Fernandes 2009, at full severity, on linear RGB.
SIGHTS = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}
# For each text: its colour, and what it stands on. A text in a bar stands on the bar, one in a lane also on the shade
# of a rotation, all else on the nearest ground.
_TEXTS = """() => {
  const ground = it => {
    for (; it; it = it.parentElement) {
      const colour = getComputedStyle(it).backgroundColor;
      if (!/, 0\\)$|transparent/.test(colour)) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = [];
  for (const it of document.querySelectorAll('body *:not(script):not(style)')) {
    const style = getComputedStyle(it);
    if (![...it.childNodes].some(node => node.nodeType == 3 && node.data.trim()) || !it.checkVisibility()) continue;
    const inSvg = it.namespaceURI.endsWith('svg');
    const on = [ground(it)];
    const bar = it.closest('.bar');
    if (bar) on.splice(0, 1, getComputedStyle(bar.querySelector('rect')).fill);
    const shade = it.closest('.lane')?.querySelector('.rotating');
    if (shade) on.push(getComputedStyle(shade).fill);
    for (const colour of on) found.push([it.textContent.slice(0, 40), inSvg ? style.fill : style.color, colour, 1]);
  }
  return found;
}"""
# For each mark, bar and sign: the colour of its line, and what it stands on.
_MARKS = """() => {
  const found = [], scroll = getComputedStyle(document.querySelector('.scroll')).backgroundColor;
  const shade = getComputedStyle(document.querySelector('.rotating')).fill;
  const add = (selector, grounds) => {
    for (const it of document.querySelectorAll(selector)) {
      const style = getComputedStyle(it);
      const name = it.getAttribute('class') ?? selector;
      for (const on of grounds) found.push([name, style.stroke, on, style.strokeOpacity]);
    }
  };
  add('.lane .dots, .lane .failed-cross, .lane .failed-line, .lane .begins', [scroll, shade]);
  add('.bar > rect, .check .sign', [scroll]);
  add('.legend .dots, .legend .failed-cross', [getComputedStyle(document.body).backgroundColor]);
  return found;
}"""


@dataclass(frozen=True)
class Standing:
    """Something, and how well it stands out from its ground: 1 not at all, 21 as black on white."""

    what: str
    ratio: float


def texts(page: Page) -> list[Standing]:
    """Every text that is seen."""
    return [_standing(*it) for it in page.evaluate(_TEXTS)]


def marks(page: Page) -> list[Standing]:
    """Every mark, bar and sign of the drawings."""
    return [_standing(*it) for it in page.evaluate(_MARKS)]


def of(page: Page, selector: str, name: str) -> Colour:
    """A colour in the style of the first such element."""
    return _parsed(page.locator(selector).first.evaluate(f"it => getComputedStyle(it).{name}"))


def luminance(colour: Colour) -> float:
    """Relative luminance, by WCAG 2."""
    red, green, blue = _linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def seen_by(colour: Colour, sight: str) -> Colour:
    """A colour as somebody with this sight sees it."""
    linear = _linear(colour)
    seen = [sum(part * it for part, it in zip(row, linear, strict=True)) for row in SIGHTS[sight]]
    red, green, blue = (round(255 * _gamma(min(max(it, 0.0), 1.0))) for it in seen)
    return red, green, blue


def difference(one: Colour, other: Colour) -> float:
    """CIE 1976: under 3 hardly seen, over 10 at a glance."""
    return float(sum((a - b) ** 2 for a, b in zip(_lab(one), _lab(other), strict=True)) ** 0.5)


def _standing(what: str, colour: str, ground: str, opacity: Any) -> Standing:
    front, back, share = _parsed(colour), _parsed(ground), float(opacity)
    red, green, blue = (round(f * share + b * (1 - share)) for f, b in zip(front, back, strict=True))
    brighter, darker = sorted((luminance((red, green, blue)), luminance(back)), reverse=True)
    return Standing(what, round((brighter + 0.05) / (darker + 0.05), 2))


def _parsed(text: str) -> Colour:
    red, green, blue = (round(float(it)) for it in re.findall(r"[\d.]+", text)[:3])
    return red, green, blue


def _linear(colour: Colour) -> list[float]:
    return [it / 12.92 if it <= 0.04045 else ((it + 0.055) / 1.055) ** 2.4 for it in (part / 255 for part in colour)]


def _gamma(it: float) -> float:
    return 12.92 * it if it <= 0.0031308 else float(1.055 * it ** (1 / 2.4) - 0.055)


def _lab(colour: Colour) -> tuple[float, float, float]:
    red, green, blue = _linear(colour)
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089
    f_x, f_y, f_z = (it ** (1 / 3) if it > 0.008856 else 7.787 * it + 16 / 116 for it in (x, y, z))
    return 116 * f_y - 16, 500 * (f_x - f_y), 200 * (f_y - f_z)
