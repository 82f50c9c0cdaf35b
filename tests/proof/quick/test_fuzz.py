"""Some spoilt inputs for every reader, and every bomb: each is refused in our own words, and in next to no time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def forms() -> dict[str, Any]:
    """The quick form, in a process of its own: what came of the readers, and of those with a fault."""
    command = [sys.executable, "-m", "tests.proof.parts.fuzz", "quick"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


@pytest.fixture(scope="module")
def found(forms: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = forms["found"]
    return result


def test_each_planted_fault_is_found(forms: dict[str, Any]) -> None:
    assert len(forms["planted"]) == 6
    assert [name for name, it in forms["planted"].items() if not it["failures"]] == []


def test_no_reader_fails_hangs_or_grows_beyond_measure(found: dict[str, Any]) -> None:
    assert {name: it["failures"] for name, it in found.items() if it["failures"]} == {}


def test_every_reader_is_given_spoilt_inputs_and_bombs(found: dict[str, Any]) -> None:
    assert len(found) > 40
    assert all(it["cases"] >= 40 and it["bombs"] > 1 for it in found.values())
