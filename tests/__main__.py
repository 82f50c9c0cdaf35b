"""`make test`: every test, in several runs at once. The long trials have quick forms in `make prove QUICK=1`.

Each run ends with the test that looks at every certificate that was issued in it.
"""

from __future__ import annotations

import sys

from tests.kit import change_sets
from tests.kit.runs import Run, files, run_all

# What each run deploys is its own: some tests break a stack on purpose, and others ask whether all of it is well. What
# waits for most of its time, or keeps so many requests a second going, runs beside what computes, which stands back: it
# takes what the others leave, and both processors are at work until the end.
AROUND_THE_ENGINE = ("acceptance", "benchmarks", "cli", "client", "demo", "examples", "kit", "proof", "sidecar")
RUNS = (
    Run("end to end, the truststore and the issuers", files("tests/e2e", "issuers", "truststore")),
    Run("end to end, the commands of the documents", files("tests/e2e", "document_commands")),
    Run("end to end, the command line", files("tests/e2e", "mtlsctl_*", "newcomer")),
    Run("end to end, the demo", files("tests/e2e", "demo")),
    # What watches a stack is first: those that follow leave certificates of another lifetime in it.
    Run(
        "end to end, all else",
        files("tests/e2e", "watching", "end_to_end", "gateway", "lifecycle", "proxy", "revocation"),
    ),
    Run("integration, and the demo's page in a browser", ["tests/integration", "tests/e2e/browser"]),
    Run("unit, the engine", ["tests/unit", *(f"--ignore=tests/unit/{it}" for it in AROUND_THE_ENGINE)], niceness=5),
    Run("unit, all around the engine", [f"tests/unit/{it}" for it in AROUND_THE_ENGINE], niceness=5),
    Run("what the repository holds", ["tests/repository"]),
)


def main() -> int:
    """Run all, show each as a whole when it has ended, and fail if one fails."""
    change_sets.build()
    return run_all(RUNS, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
