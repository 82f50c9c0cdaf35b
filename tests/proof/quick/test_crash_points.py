"""Whatever is killed, at whichever call, ends as if nothing had happened."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.proof.retries import Kill
from tests.proof.scenarios import SCENARIOS

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def outcome() -> dict[str, Any]:
    """The quick form, in a process of its own: it forks, and this one has threads."""
    finished = subprocess.run(
        [sys.executable, "-m", "tests.proof.parts.crash_points"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    found: dict[str, Any] = json.loads(finished.stdout)
    return found


def test_every_crash_point_of_what_stands_for_the_rest_ends_as_if_nothing_had_happened(outcome: dict[str, Any]) -> None:
    assert outcome["failures"] == []
    assert outcome["counts"]["crash_points"] > 100


def test_the_invariants_were_looked_at_after_every_call(outcome: dict[str, Any]) -> None:
    counts = outcome["counts"]
    assert counts["invariant_checks"] > 0.9 * counts["calls"] > 1000
    assert counts["certificates_judged"] > counts["handshakes"] > 10


def test_the_scenarios_reach_each_function_each_issuer_and_both_kinds_of_secret() -> None:
    names = " ".join(it.name for it in SCENARIOS)
    wanted = (
        "secretsmanager",
        "kms",
        "acm-pca",
        "self-signed",
        "external",
        "CA in its secret",
        "CA in KMS",
        "CA that must",
    )
    assert [it for it in (*wanted, "sync", "revocation", "bootstrap", "gateway", "no gateway") if it not in names] == []


def test_a_kill_says_where() -> None:
    assert str(Kill(3, after=True)) == "after 3"
    assert str(Kill(3, after=False)) == "before 3"
