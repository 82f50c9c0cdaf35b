"""`make picture`: how the page of the last `make demo` looks, light and dark, for the README."""

import sys
from pathlib import Path

from demo.browser import NoBrowserError, launched

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "build" / "demo" / "report.html"
PICTURES = {"light": ROOT / "docs" / "images" / "demo.png", "dark": ROOT / "docs" / "images" / "demo-dark.png"}
WIDTH, LARGEST = 1280, 300_000


def main() -> int:
    """Take both; 0 if they are small enough for a README."""
    if not PAGE.is_file():
        print(f"{PAGE} is not there: run `make demo` first.", file=sys.stderr)
        return 1
    try:
        with launched() as browser:
            for scheme, picture in PICTURES.items():
                picture.parent.mkdir(parents=True, exist_ok=True)
                page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
                page.goto(PAGE.as_uri())
                # From the top to the end of the time line.
                bottom = page.locator(".scroll").evaluate("it => it.getBoundingClientRect().bottom")
                clip = {"x": 0, "y": 0, "width": WIDTH, "height": bottom + 32}
                page.locator("figcaption").evaluate("it => it.remove()")
                page.screenshot(path=picture, full_page=True, clip=clip)  # type: ignore[arg-type]
                print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size / 1000:.0f} kB")
    except NoBrowserError as error:
        print(error, file=sys.stderr)
        return 1
    return int(any(picture.stat().st_size > LARGEST for picture in PICTURES.values()))


if __name__ == "__main__":
    sys.exit(main())
