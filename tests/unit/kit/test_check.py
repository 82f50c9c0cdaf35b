"""`make check`: what it takes for changed, what it runs first, and how it parts the tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import check


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A branch with one commit above main."""
    git(tmp_path, "init", "--initial-branch=main")
    (tmp_path / ".gitignore").write_text("build/\n")
    for name in ("old.py", "edited.py", "deleted.py", "committed.py", "named äö.py"):
        (tmp_path / name).write_text("old")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message=first")
    git(tmp_path, "checkout", "-b", "branch")
    (tmp_path / "committed.py").write_text("new")
    git(tmp_path, "commit", "--all", "--message=second")
    return tmp_path


def test_what_has_changed_is_what_differs_from_the_main_branch_and_what_is_new_to_git(repository: Path) -> None:
    (repository / "edited.py").write_text("new")
    (repository / "named äö.py").write_text("new")
    (repository / "deleted.py").unlink()
    (repository / "untracked.py").touch()
    (repository / "build").mkdir()
    (repository / "build" / "ignored.py").touch()

    assert check.changed(repository) == ["committed.py", "edited.py", "named äö.py", "untracked.py"]


def test_on_the_main_branch_it_is_what_is_not_committed(repository: Path) -> None:
    git(repository, "checkout", "main")
    (repository / "edited.py").write_text("new")

    assert check.changed(repository) == ["edited.py"]


def test_every_unit_test_is_in_one_part_and_the_parts_take_as_long() -> None:
    modules = check.unit_tests()
    seconds = {module: float(at % 7) for at, module in enumerate(modules)}
    one, other = check.parted(modules, seconds, 2)

    assert sorted(one + other) == modules
    assert len(modules) > 50
    assert sum(map(seconds.__getitem__, one)) == pytest.approx(sum(map(seconds.__getitem__, other)), rel=0.1)


def test_a_changed_test_runs_first_and_then_those_of_the_rooms_in_which_something_changed() -> None:
    modules = ["tests/unit/aws/test_kms.py", "tests/unit/gateway/test_proxy.py", "tests/unit/pki/test_names.py"]
    touched = ["layers/rotation/mtls_rotation/gateway/proxy/paths.py", "tests/unit/pki/test_names.py"]

    assert check.in_order(modules, touched) == [modules[2], modules[1], modules[0]]


def test_how_long_modules_took_is_read_from_the_last_runs_reports(tmp_path: Path) -> None:
    case = '<testcase classname="tests.unit.{}" name="test_a" time="{}"/>'
    cases = case.format("aws.test_kms", 1.5) + case.format("aws.test_kms.TestKey", 0.5)
    (tmp_path / "1.xml").write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")

    assert check.seconds(tmp_path) == {"tests/unit/aws/test_kms.py": 2.0}


def test_what_fails_is_told_with_what_it_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "changed", list)
    monkeypatch.setattr(check, "types", lambda _: check.Ended("types", passed=False, seconds=1, output="a fault\n"))
    monkeypatch.setattr(check, "test", lambda *_: check.Ended("tests", passed=True, seconds=2, output="all is well\n"))

    assert check.main() == 1
    said = capsys.readouterr().out
    assert "✗ types (1 s)\na fault\n" in said
    assert "all is well" not in said
