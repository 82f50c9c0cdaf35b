"""Least privilege: the whole life, as `make prove` plays it. Most of its minutes are waiting."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proof.least_privilege import scenario, usage
from tests.proof.least_privilege.difference import lines


# A whole life takes three minutes by itself, and more beside other trials.
@pytest.mark.timeout(600)
def test_each_permission_is_used_in_the_life_of_a_stack_and_no_statement_is_there_twice(
    built: None, tmp_path: Path
) -> None:
    found = usage(scenario.run(tmp_path / "life"))

    assert lines(found) == []
    assert found.redundant == []
