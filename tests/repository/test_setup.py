"""`make setup` says what it will fetch before it does, shows that it goes on, and is quiet once all is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.tags import sys_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
UV_MB = 19
# Does what uv does, as far as the Makefile sees it.
UV = """#!/bin/bash
echo "Downloading botocore (15.2MiB)" >&2
mkdir -p "${UV_PROJECT_ENVIRONMENT:-.venv}"
echo " + botocore==1.43.127" >&2
exit "${UV_FAILS_WITH:-0}"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As much of a checkout as `make setup` asks for, and a uv that fetches nothing. Its path has a space."""
    checkout, programs = tmp_path / "a checkout", tmp_path / "bin"
    checkout.mkdir()
    shutil.copy(ROOT / "Makefile", checkout)
    (needed,) = re.findall(r"^\.venv/\.synced: (.+?) \|", MAKEFILE, re.MULTILINE)
    for name in needed.split():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).touch()
    programs.mkdir()
    (programs / "uv").write_text(UV)
    (programs / "uv").chmod(0o755)
    return checkout


def setup(checkout: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    path = f"{checkout.parent / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        ["make", "--no-print-directory", "setup"],
        cwd=checkout,
        # As a user calls it, and not as a part of the `make test` that this may run in.
        env={**{name: it for name, it in os.environ.items() if not name.startswith("MAKE")}, "PATH": path, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_the_first_time_says_how_much_is_fetched_before_it_is_and_shows_that_it_goes_on(checkout: Path) -> None:
    finished = setup(checkout)

    assert finished.returncode == 0, finished.stdout
    first, *rest = finished.stdout.splitlines()
    assert re.search(r"\d+ MB are downloaded", first)
    assert rest.count("Downloading botocore (15.2MiB)") == 2
    assert "+ botocore" not in finished.stdout


def test_once_all_is_there_nothing_is_said_and_a_newer_lock_is_no_first_time(checkout: Path) -> None:
    setup(checkout)
    again = setup(checkout)
    (checkout / "uv.lock").touch()
    (checkout / ".venv" / ".synced").touch()
    os.utime(checkout / ".venv" / ".synced", (0, 0))
    renewed = setup(checkout)

    assert again.stdout in ("", "make: Nothing to be done for 'setup'.\n")
    assert "Downloading" in renewed.stdout
    assert "MB are downloaded" not in renewed.stdout


def test_what_could_not_be_fetched_is_fetched_the_next_time(checkout: Path) -> None:
    assert setup(checkout, UV_FAILS_WITH="1").returncode != 0
    assert "Downloading" in setup(checkout).stdout


def test_the_figure_is_what_the_lock_says_of_what_is_installed() -> None:
    (said,) = re.findall(r"^FETCHED_MB := (\d+)$", MAKEFILE, re.MULTILINE)
    locked = {(it["name"], it.get("version")): it for it in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    found: dict[tuple[str, str], int] = {}
    for environment in (".venv", ".venv-sam"):
        (packages,) = (ROOT / environment / "lib").glob("python3*/site-packages")
        for it in distributions(path=[str(packages)]):
            key = canonicalize_name(it.name), it.version
            if archive := _fetched(locked.get(key, {})):
                found[key] = archive

    assert len(found) > 150
    assert int(said) == pytest.approx(sum(found.values()) / 1e6 + UV_MB, rel=0.15)


_TAGS = {tag: place for place, tag in enumerate(sys_tags())}


def _fetched(package: dict[str, object]) -> int:
    """The bytes of the wheel that fits here best; 0 for a package of this repository."""
    wheels: list[dict[str, object]] = package.get("wheels", [])  # type: ignore[assignment]
    fit = [
        (min(_TAGS[tag] for tag in tags & _TAGS.keys()), int(str(wheel["size"])))
        for wheel in wheels
        for tags in [parse_wheel_filename(str(wheel["url"]).rpartition("/")[2].replace("%2B", "+"))[3]]
        if tags & _TAGS.keys()
    ]
    return min(fit)[1] if fit else 0
