"""Least privilege, both ways: a life of a stack in which every permission is needed, and what was not used in it.

The records of the end-to-end tests count as well, where there are any (``tests/proof/least_privilege/``).
"""

from __future__ import annotations

import shutil
from collections import Counter

from demo import sam
from tests.proof import Outcome
from tests.proof.least_privilege import scenario, usage
from tests.proof.least_privilege.difference import lines
from tests.proof.least_privilege.elsewhere import ELSEWHERE
from tests.proof.least_privilege.report import KEPT, used, write

DIRECTORY = sam.ROOT / "build" / "prove" / "least_privilege"


def run() -> Outcome:
    """Live the life, and compare."""
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    found = usage(scenario.run(DIRECTORY))
    write(found, DIRECTORY / "granted-and-used.txt")
    (DIRECTORY / KEPT.name).write_text(used(found))
    granted = {(it.holder, it.policy, it.sid) for it in found.granted}
    failures = lines(found)
    failures += [
        f"whatever this statement allows is allowed by another as well: {', '.join(it)}" for it in found.redundant
    ]
    return Outcome(
        counts={
            "statements_granted": len(granted),
            "actions_granted": len({(it.holder, it.action) for it in found.granted}),
            "granted": len(found.granted),
            "used": len(found.used),
            "proved_elsewhere": len([it for it in found.granted if any(e.covers(it) for e in ELSEWHERE)]),
            "used_by_role": dict(Counter(it.holder for it in found.used)),
        },
        failures=failures,
        notes=[f"{it.sid}: {it.why}; {it.test} holds it" for it in ELSEWHERE],
    )
