"""The tables in the documents that a program makes: from the template, and from counted calls.

`python -m tests.repository.documents` renews the tables in place. Tests hold that they are as it would make them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tests.benchmarks import fleet_simulation
from tests.proof.paths import differences
from tests.repository.documents import acceptance, bounds, costs, figures, performance, roles


def between(text: str, name: str) -> str:
    """What stands between the marks of a table."""
    (found,) = re.findall(rf"<!-- begin {name} -->\n(.*?)<!-- end {name} -->", text, re.DOTALL)
    return str(found)


def replaced(text: str, name: str, table: str) -> str:
    """The text with another table between the marks."""
    before, _, rest = text.partition(f"<!-- begin {name} -->\n")
    _, _, after = rest.partition(f"<!-- end {name} -->")
    return f"{before}<!-- begin {name} -->\n{table}<!-- end {name} -->{after}"


def tables() -> Mapping[tuple[str, str], Callable[[], str]]:
    """(document, table) → what makes the table."""
    return {
        ("README.md", "costs"): costs.table,
        ("README.md", "fleet"): fleet_simulation.table,
        ("docs/security.md", "roles"): roles.table,
        ("docs/limits.md", "bounds"): bounds.table,
        ("docs/acceptance.md", "scenarios"): acceptance.scenarios,
        ("docs/acceptance.md", "probes"): acceptance.probes,
        ("docs/acceptance.md", "costs"): acceptance.costs,
        ("docs/reliability.md", "faults"): figures.faults,
        ("docs/security.md", "attacks"): figures.attacks,
        ("docs/security.md", "paths"): differences.table,
        ("docs/performance.md", "figures"): performance.figures,
        ("docs/performance.md", "starts"): performance.starts,
        ("docs/performance.md", "layers"): performance.layers,
        ("docs/performance.md", "calls"): performance.calls,
        ("docs/performance.md", "steps"): performance.steps,
        ("docs/performance.md", "truststore"): performance.truststore,
        ("docs/performance.md", "parts"): performance.parts,
        ("docs/truststore.md", "sync"): performance.sync,
        ("docs/clients/python.md", "cost"): performance.clients,
        ("docs/performance.md", "run"): performance.run,
    }
