"""`make demo`, with shorter pauses between its rotations."""

import subprocess
import sys

import pytest

from demo import sam

BRIEF = "import sys, demo.__main__ as demo; demo.BREATHER, demo.MANUAL_ROTATIONS = 0.5, 1; sys.exit(demo.main())"


@pytest.mark.timeout(600)
def test_the_demo_does_what_the_readme_says(built: None) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", BRIEF], cwd=sam.ROOT, capture_output=True, text=True, check=False, timeout=580
    )

    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "Zero failed handshakes." in finished.stdout
