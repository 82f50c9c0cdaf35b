"""`make test`: every test, in several runs at once. The long trials have quick forms in `make prove QUICK=1`.

Each run ends with the test that looks at every certificate that was issued in it.
"""

from __future__ import annotations

import os
import sys

from tests.kit import change_sets
from tests.kit.runs import Run, files, run_all

# What each run deploys is its own: some tests break a stack on purpose, and others ask whether all of it is well. What
# waits for most of its time, or keeps so many requests a second going, runs beside what computes, which stands back: it
# takes what the others leave, and both processors are at work until the end.
AROUND_THE_ENGINE = ("acceptance", "benchmarks", "cli", "client", "demo", "examples", "kit", "proof", "sidecar")
ENGINE = "unit, the engine"
ASKED_FOR = ("create", "export", "import", "policies", "revoke", "rotate", "status", "truststore", "verify")
RUNS = (
    Run("end to end, the truststore and the issuers", files("tests/e2e", "issuers", "truststore")),
    Run("end to end, the commands of the documents", files("tests/e2e", "document_commands")),
    Run("end to end, the command line", files("tests/e2e", *(f"mtlsctl_{it}" for it in ASKED_FOR))),
    Run(
        "end to end, what is broken and mended by the command line",
        files("tests/e2e", "mtlsctl_doctor", "mtlsctl_edges", "mtlsctl_remedies", "newcomer"),
    ),
    Run("end to end, the demo", files("tests/e2e", "demo")),
    # What watches a stack is first: those that follow leave certificates of another lifetime in it.
    Run(
        "end to end, all else",
        files("tests/e2e", "watching", "end_to_end", "gateway", "lifecycle", "proxy", "revocation"),
    ),
    Run("integration, and the demo's page in a browser", ["tests/integration", "tests/e2e/browser"]),
    Run(ENGINE, ["tests/unit", *(f"--ignore=tests/unit/{it}" for it in AROUND_THE_ENGINE)], niceness=5),
    Run("unit, all around the engine", [f"tests/unit/{it}" for it in AROUND_THE_ENGINE], niceness=5),
    Run("what the repository holds", ["tests/repository"], niceness=5),
)


# `make test ONLY=rest` and `make test ONLY=engine` together run what `make test` does. CI runs the second beside the
# long trials, which leave a processor idle.
PARTS = {
    "": RUNS,
    "engine": tuple(run for run in RUNS if run.name == ENGINE),
    "rest": tuple(run for run in RUNS if run.name != ENGINE),
}


def main() -> int:
    """Run all, or one part, show each run as a whole when it has ended, and fail if one fails."""
    only = os.environ.get("ONLY", "")
    if only not in PARTS:
        print(f"ONLY={only}: expected {' or '.join(filter(None, PARTS))}, or nothing for all tests", file=sys.stderr)
        return 2
    change_sets.build()
    return run_all(PARTS[only], sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
