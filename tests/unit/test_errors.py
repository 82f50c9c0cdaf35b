"""The runbook and the code know the same errors."""

from __future__ import annotations

import re
from pathlib import Path

from mtls_rotation.errors import MtlsRotationError

RUNBOOK = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def test_the_runbook_has_a_row_for_every_code_and_no_other() -> None:
    codes = [error.code for error in MtlsRotationError.__subclasses__()]
    assert len(codes) == len(set(codes))
    assert set(re.findall(r"^\| (MTLS-\d+) \|", RUNBOOK, re.MULTILINE)) == set(codes)
