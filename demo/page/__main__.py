"""`python -m demo.page build/demo/report.json`: the page of a report that is there, beside it or where you say."""

import argparse
import json
import sys
from pathlib import Path

from demo.page import PageError, render


def main(arguments: list[str] | None = None) -> int:
    """Render; 0 if it was written."""
    parser = argparse.ArgumentParser(prog="python -m demo.page", description="Make the page of a demo's report.")
    parser.add_argument("report", type=Path, help="report.json")
    parser.add_argument("page", type=Path, nargs="?", help="where the page goes; report.html beside the report")
    given = parser.parse_args(arguments)
    page: Path = given.page or given.report.with_suffix(".html")
    try:
        page.write_text(render(json.loads(given.report.read_text("utf-8"))), "utf-8")
    except (OSError, ValueError, PageError) as error:
        print(f"{given.report}: {error}", file=sys.stderr)
        return 1
    print(f"{page} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
