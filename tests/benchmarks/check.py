"""`make bench-check`: has anything become worse than in the results that were kept?

A rise in a call count is, always: they are exact, and counted anew here, in seconds. A ratio is, if it is worse by more
than 15%: those of the last `make bench` are looked at, where there was one.
"""

from __future__ import annotations

import json
import sys

from demo import sam
from tests.benchmarks import calls
from tests.benchmarks.figures import compare, compare_calls

RESULTS = sam.ROOT / "build" / "bench" / "results.json"
# The last whole run that was kept: what later ones are held against, and what docs/performance.md shows.
KEPT = sam.ROOT / "docs" / "bench.json"


def main() -> int:
    """Say what is worse, a line each."""
    kept = json.loads(KEPT.read_text())
    counted = calls.measure()
    worse = compare_calls(kept, counted.document()) + counted.missed
    if RESULTS.exists():
        worse += [line for line in compare(kept, json.loads(RESULTS.read_text())) if line not in worse]
    for line in worse:
        print(line)
    print(f"{len(counted.calls)} rotations counted, {len(worse) or 'nothing'} worse")
    return int(bool(worse))


if __name__ == "__main__":
    sys.exit(main())
