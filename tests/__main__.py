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
from demo.gateway import architecture

# What each run deploys is its own: some tests break a stack on purpose, and others ask whether all of it is well. Those
# that wait for most of their time (API Gateway takes an update of a domain every 30 seconds) run beside those that
# compute. The last has a test of so many requests a second, and begins when another run has ended.
DOCUMENTS = ["tests/e2e/test_document_commands.py", "tests/e2e/test_package.py"]
WAITING = ["tests/e2e/test_issuers.py", "tests/e2e/test_truststore.py", "tests/e2e/test_watching.py"]
COMMAND_LINE = [*map(str, sorted(Path("tests/e2e").glob("test_mtlsctl_*.py"))), "tests/e2e/test_newcomer.py"]
ELSEWHERE = [*DOCUMENTS, *WAITING, *COMMAND_LINE]
RUNS = {
    "end to end, the commands of the documents, and the package": DOCUMENTS,
    "unit, integration, and the demo's page in a browser": ["tests/unit", "tests/integration", "tests/browser"],
    "end to end, the truststore, the issuers and what watches": WAITING,
    "end to end, the command line": COMMAND_LINE,
    "end to end, all else": ["tests/e2e", *(f"--ignore={file}" for file in ELSEWHERE)],
}
AT_ONCE = 4
LAST = "tests/test_every_certificate.py"


def main() -> int:
    """Run all, show each as a whole when it has ended, and fail if one fails."""
    sam.build(architecture())
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ended = [pool.submit(run, name, tests) for name, tests in RUNS.items()]
        return int(max(it.result() for it in as_completed(ended)) != 0)


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
