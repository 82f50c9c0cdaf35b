"""`make test`: every test, in several runs at once. Those on a deployed stack wait for much of their time.

Each run ends with the test that looks at every certificate that was issued in it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from demo import sam
from tests.kit import change_sets

# What each run deploys is its own: some tests break a stack on purpose, and others ask whether all of it is well. Those
# that wait for most of their time (API Gateway takes an update of a domain every 30 seconds) run beside those that
# compute. What keeps so many requests a second going comes after all of them, and has the machine to itself.
END_TO_END = Path("tests/e2e")
DOCUMENTS = ("document_commands", "package")
WAITING = ("issuers", "truststore", "watching")
COMMAND_LINE = ("mtlsctl_*", "newcomer")
UNDER_LOAD = ("demo", "clients", "proxy", "bad_network", "soak")


def end_to_end(*names: str) -> list[str]:
    """The files of those names."""
    return [str(file) for name in names for file in sorted(END_TO_END.glob(f"test_{name}.py"))]


APART = end_to_end(*DOCUMENTS, *WAITING, *COMMAND_LINE, *UNDER_LOAD)
AT_ONCE = {
    "end to end, the truststore, the issuers and what watches": end_to_end(*WAITING),
    "end to end, the commands of the documents, and the package": end_to_end(*DOCUMENTS),
    "unit": ["tests/unit", "--ignore=tests/unit/proof"],
    "integration, the demo's page in a browser, and the quick forms of the proof": [
        *("tests/integration", "tests/e2e/browser", "tests/unit/proof"),
    ],
    "end to end, the command line": end_to_end(*COMMAND_LINE),
    "end to end, all else": [str(END_TO_END), *(f"--ignore={file}" for file in APART)],
}
AFTERWARDS = {"end to end, under load": end_to_end(*UNDER_LOAD)}
LAST = "tests/test_every_certificate.py"


def main() -> int:
    """Run all, show each as a whole when it has ended, and fail if one fails."""
    change_sets.build()
    failed = False
    for runs in (AT_ONCE, AFTERWARDS):
        with ThreadPoolExecutor(len(runs)) as pool:
            ended = [pool.submit(run, name, tests) for name, tests in runs.items()]
            failed |= max(it.result() for it in as_completed(ended)) != 0
    return int(failed)


def run(name: str, tests: list[str]) -> int:
    """Run some tests, and show what pytest said when it has ended. Its exit status."""
    command = [sys.executable, "-m", "pytest", "-q", *tests, LAST, *sys.argv[1:]]
    environment = os.environ | {sam.ALREADY_BUILT: "1"}
    finished = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    print(f"{name}:\n{finished.stdout}", flush=True)
    return finished.returncode


if __name__ == "__main__":
    sys.exit(main())
