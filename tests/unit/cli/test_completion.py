"""What a shell is told when somebody presses the tab key: never an error."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.unit.cli.test_app import ENVIRONMENT


@pytest.mark.parametrize(
    "words", ["mtlsctl rotate cl", "mtlsctl import signed answer.pem --secret ", "mtlsctl rotate "]
)
@pytest.mark.parametrize("lacking", [(), ("AWS_REGION", "AWS_ENDPOINT_URL")], ids=["no AWS", "no region"])
def test_without_an_answer_nothing_is_completed_and_nothing_is_said(words: str, lacking: tuple[str, ...]) -> None:
    asked = {"_MTLSCTL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    environment = {name: value for name, value in ENVIRONMENT.items() if name not in lacking} | asked
    told = subprocess.run(
        [sys.executable, "-m", "mtlsctl"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert (told.returncode, told.stdout.strip(), told.stderr) == (0, "", "")
