"""What a test writes in the checkout outside of its own folders is refused, or told of at the end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.checkout import ROOT

CONFTEST = """
import pathlib, sys
from tests.kit import checkout

def pytest_configure(config):
    watch = checkout.Checkout(pathlib.Path(__file__).parents[1])
    sys.addaudithook(watch.heard)
    config.pluginmanager.register(watch)
"""
MODULE = """
import os, pathlib, shutil, subprocess

CHECKOUT = pathlib.Path(__file__).parents[2]
"""
REFUSED = {
    "write": "(CHECKOUT / 'build/demo/written').write_text('new')",
    "append": "open('build/demo/appended', 'ab')",
    "open_to_write": "os.open(CHECKOUT / 'build/demo/opened', os.O_RDWR)",
    "create": "(CHECKOUT / 'created').touch()",
    "make_a_folder": "(CHECKOUT / 'build/folder').mkdir()",
    "remove": "(CHECKOUT / 'build/demo/removed').unlink()",
    "replace": "(tmp_path / 'a').touch(), os.replace(tmp_path / 'a', 'build/demo/replaced')",
    "move": "os.rename('build/demo/moved', tmp_path / 'a')",
    "swallow": "try: open('swallowed', 'w')\n    except Exception: pass",
}
SEEN_AT_THE_END = {
    "have_a_program_write": "subprocess.run(['cp', 'README.md', 'build/demo/program_has_written'])",
    "have_a_program_make": "subprocess.run(['touch', 'program_has_made'])",
    "have_a_program_remove": "subprocess.run(['rm', 'build/demo/program_has_removed'])",
}
ALLOWED = {
    "write": "(tmp_path / 'a').write_text('new')",
    "link": "(tmp_path / 'a').symlink_to(CHECKOUT / 'README.md')",
    "remove": "(tmp_path / 'a' / 'b').mkdir(parents=True), shutil.rmtree(tmp_path / 'a')",
    "write_by_an_open_folder": "it = os.open(tmp_path, 0); os.close(os.open('a', os.O_CREAT | os.O_WRONLY, dir_fd=it))",
    "write_below_build_tests": "os.makedirs('build/tests/mine'), open('build/tests/mine/a', 'w').close()",
    "have_a_program_write_there": "subprocess.run(['mkdir', '-p', 'build/tests/theirs'])",
    "build": "os.makedirs('.aws-sam/build')",
    "compile": "os.makedirs('tests/__pycache__', exist_ok=True)",
    "read": "assert (CHECKOUT / 'README.md').read_text() == 'read me'",
}
THERE = ("opened", "removed", "replaced", "moved", "program_has_written", "program_has_removed")


def run(tmp_path: Path, tests: dict[str, str], there: tuple[str, ...] = THERE) -> subprocess.CompletedProcess[str]:
    """Run tests in a checkout of their own, where the demo has left some files."""
    checkout = tmp_path / "checkout"
    folder = checkout / "tests" / "integration"
    folder.mkdir(parents=True)
    (checkout / "README.md").write_text("read me")
    for name in there:
        (checkout / "build" / "demo").mkdir(parents=True, exist_ok=True)
        (checkout / "build" / "demo" / name).write_text("old")
    (folder.parent / "conftest.py").write_text(CONFTEST)
    written = "".join(f"\ndef test_{name}(tmp_path):\n    {does}\n" for name, does in tests.items())
    (folder / "test_it.py").write_text(MODULE + written)
    command = [sys.executable, "-m", "pytest", "-q", f"--basetemp={tmp_path / 'base'}", "-p", "no:cacheprovider"]
    settings = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [*command, f"--rootdir={checkout}", "-c", os.devnull, str(folder)],
        cwd=checkout,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_a_test_writes_in_anothers_folder_is_refused_and_what_a_program_writes_is_told(tmp_path: Path) -> None:
    said = run(tmp_path, REFUSED | SEEN_AT_THE_END).stdout

    checkout = f"{tmp_path / 'checkout'}/"
    told = {it.partition(", ")[0].removeprefix(checkout) for it in said.split("written in the checkout: ")[1:]}
    assert told == {
        *("created", "swallowed", "program_has_made", "build/folder"),
        *(f"build/demo/{name}" for name in (*THERE, "written", "appended")),
    }
    assert f"{len(REFUSED) - 1} failed" in said  # but for the one that swallows it
    left = {it.name for it in (tmp_path / "checkout" / "build" / "demo").iterdir()}
    assert left == {*THERE} - {"program_has_removed"}


@pytest.mark.parametrize("does", ["swallow", "have_a_program_write"])
def test_a_run_that_writes_in_anothers_folder_fails(does: str, tmp_path: Path) -> None:
    finished = run(tmp_path, {does: (REFUSED | SEEN_AT_THE_END)[does]})

    assert "1 passed" in finished.stdout
    assert finished.returncode == pytest.ExitCode.TESTS_FAILED


def test_a_run_that_writes_in_its_own_folders_passes_also_where_nothing_was_built_yet(tmp_path: Path) -> None:
    finished = run(tmp_path, ALLOWED, there=())

    assert finished.returncode == 0, finished.stdout
    assert "written in the checkout" not in finished.stdout
