"""`python -m tests.repository.template`: cfn-lint and checkov on every template, for `make lint`; fails on any."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from tests.repository.template import checkov, linting


def main() -> int:
    """Run both at once, and show what they found."""
    with ThreadPoolExecutor() as pool:
        first, second = pool.submit(linting.run), pool.submit(checkov.run)
        lint, security = first.result(), second.result()
    for failure in lint.failures + security.failures:
        print(failure)
    print(
        f"cfn-lint: {sum(lint.resources.values())} resources, {len(lint.failures)} findings; checkov: {security.passed}"
        f" checks passed, {len(security.suppressions)} suppressed with their reasons, {len(security.failures)} findings"
    )
    return int(bool(lint.failures + security.failures))


if __name__ == "__main__":
    sys.exit(main())
