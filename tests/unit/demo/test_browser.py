"""A machine without a browser gets one, and one that has a browser keeps it. The programs only say that they ran."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from demo.browser import NoBrowserError, find, main, provide


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with what a script needs, and neither a browser nor a package manager."""
    for name in ("env", "cat", "chmod", "mkdir"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "playwright"))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    write(tmp_path / "python", "echo no network; exit 7")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "$0 $*" >> {path.parents[0]}/log\n{text}\n')
    path.chmod(0o755)


def installs(program: Path) -> str:
    """The script's lines that put a working browser there."""
    return f"mkdir -p {program.parent}\ncat > {program} <<END\n#!/bin/sh\necho Chromium 1\nEND\nchmod +x {program}"


def ran(programs: Path) -> list[str]:
    log = programs / "log"
    return log.read_text().replace(f"{programs}/", "").splitlines() if log.exists() else []


def test_a_browser_that_is_there_is_taken_and_nothing_is_installed(programs: Path) -> None:
    write(programs / "apt-get", "exit 9")
    write(programs / "google-chrome", "echo Chrome 1")
    assert provide() == find() == programs / "google-chrome"
    assert main() == 0
    assert set(ran(programs)) == {"google-chrome --version"}


def test_a_browser_that_does_not_start_is_passed_over(programs: Path) -> None:
    write(programs / "chromium", "echo it is a snap; exit 46")
    write(programs / "google-chrome", "echo Chrome 1")
    assert find() == programs / "google-chrome"


def test_the_browser_that_playwright_has_downloaded_is_taken_where_none_is_on_path(programs: Path) -> None:
    own = programs / "playwright" / "chromium-1255" / "chrome-linux64" / "chrome"
    write(own, "echo Chromium 1")
    assert provide() == own
    write(own, "echo libnss3.so: cannot open shared object file; exit 127")
    with pytest.raises(NoBrowserError, match=r"chrome, which ended with status 127"):
        find()


@pytest.mark.parametrize("user", [0, 1000])
def test_apt_installs_one_as_root_and_by_sudo_where_it_asks_for_no_password(
    programs: Path, monkeypatch: pytest.MonkeyPatch, user: int
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)
    write(programs / "sudo", '[ "$1" = -n ] && shift && [ "$1" = true ] || "$@"')
    write(programs / "apt-get", f'[ "$1" = update ] && exit 0\n{installs(programs / "chromium")}')
    assert provide() == programs / "chromium"
    assert [line for line in ran(programs) if line.startswith("apt-get")] == [
        "apt-get update -q",
        "apt-get install -q -y --no-install-recommends chromium",
    ]
    assert any(line.startswith("sudo -n env") for line in ran(programs)) == bool(user)


def test_one_is_downloaded_where_apt_has_none_or_may_not_be_used(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = programs / "playwright" / "chromium-1255" / "chrome-linux" / "chrome"
    write(programs / "python", installs(own))
    write(programs / "sudo", "echo a password is needed; exit 1")
    write(programs / "apt-get", "echo E: Unable to locate package chromium; exit 100")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert provide() == own
    assert not [line for line in ran(programs) if line.startswith("apt-get")]

    shutil.rmtree(programs / "playwright")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert provide() == own
    assert "python -m playwright install chromium" in ran(programs)
    assert "apt-get install -q -y --no-install-recommends chromium" in ran(programs)


def test_where_nothing_works_the_error_says_what_was_tried_and_what_to_do(
    programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(programs / "chromium", "echo it is a snap; exit 46")
    write(programs / "apt-get", "echo E: Unable to locate package chromium; exit 100")
    assert main() == 1
    said = capsys.readouterr().err
    for words in (
        "Expected on PATH: one of chromium,",
        f"Found: {programs}/chromium, which ended with status 46",
        "Unable to locate package chromium",
        "playwright install chromium` ended with status 7: no network",
        "What to do: install Chromium or Chrome",
    ):
        assert words in said


def test_without_a_browser_the_tests_say_how_to_get_one(programs: Path) -> None:
    with pytest.raises(NoBrowserError, match=r"Found: none of them\. Run `make browser`"):
        find()
