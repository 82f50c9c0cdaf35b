"""`make demo`, with shorter pauses between its rotations."""

import subprocess
import sys
from pathlib import Path

import pytest

from demo import sam

BRIEF = """
import pathlib, sys, demo.__main__ as demo
demo.BREATHER, demo.MANUAL_ROTATIONS = 0.5, 1
sys.exit(demo.main(pathlib.Path(sys.argv[1])))
"""


@pytest.mark.timeout(600)
def test_the_demo_does_what_the_readme_says(built: None, tmp_path: Path) -> None:
    command = [sys.executable, "-c", BRIEF, str(tmp_path / "demo")]
    finished = subprocess.run(command, cwd=sam.ROOT, capture_output=True, text=True, check=False, timeout=580)

    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "Zero failed handshakes." in finished.stdout
    assert {it.name for it in (tmp_path / "demo").iterdir()} == {"local-aws.log", "report.html", "report.json"}
