"""Some spoilt inputs for every reader, and every bomb: each is refused in our own words, and in next to no time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.proof.readers import registry

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
    assert all(it["cases"] >= 40 for it in found.values())
    # What is drawn from a seed has no bombs.
    assert sum(it["bombs"] > 1 for it in found.values()) > 40


def test_no_reader_is_forgotten(forms: dict[str, Any]) -> None:
    """Whatever reads what others wrote is drawn for, or it is said why not."""
    names, reads, drawn_for = forms["listed"]["names"], dict(registry.reading()), set(forms["listed"]["modules"])
    assert len(names) == len(set(names))
    forgotten = {name: by for name, by in reads.items() if name not in drawn_for | registry.NOT_DRAWN.keys()}
    assert not forgotten, "add a reader to tests/proof/readers, or the reason why not to registry.NOT_DRAWN"
    assert reads.keys() >= registry.NOT_DRAWN.keys(), "a reason for what reads nothing"
    assert not registry.NOT_DRAWN.keys() & drawn_for, "a reason for what is drawn for"


def test_what_is_drawn_is_of_many_kinds_and_taken_where_it_is_fit(forms: dict[str, Any]) -> None:
    assert len(forms["listed"]["drawn"]) > 10
    for name, drawn in forms["listed"]["drawn"].items():
        assert drawn["different"] > 5, name
        assert drawn["problems"] == [], name
