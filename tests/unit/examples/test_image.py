"""The sidecar's Dockerfile: of this repository's packages, on the runtime's Python, as nobody in particular."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.repository.template import pins
from tests.unit.examples.files import EXAMPLES, ROOT, SIDECAR, joined, loaded

FOLDER = EXAMPLES / "sidecar-image"
INSTRUCTIONS = [
    (line.partition(" ")[0], line.partition(" ")[2])
    for line in joined((FOLDER / "Dockerfile").read_text())
    if line and not line.startswith("#")
]
BUILD, FINAL = [
    INSTRUCTIONS[start:end]
    for starts in [[index for index, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM"]]
    for start, end in zip(starts, [*starts[1:], None], strict=True)
]


def values(stage: list[tuple[str, str]], name: str) -> list[str]:
    return [value for instruction, value in stage if instruction == name]


def test_it_holds_nothing_but_instructions() -> None:
    assert {name for name, _ in INSTRUCTIONS} <= {"FROM", "COPY", "RUN", "ENV", "USER", "ENTRYPOINT"}
    assert (len(BUILD), len(FINAL)) == (6, 5)


def test_both_stages_have_the_python_that_the_packages_ask_for() -> None:
    for stage in (BUILD, FINAL):
        assert values(stage, "FROM")[0].split(" ")[0] == "python:3.13-slim"
    for package in ("client", "sidecar"):
        project = tomllib.loads((ROOT / package / "pyproject.toml").read_text())["project"]
        assert project["requires-python"] == ">=3.13"


def test_what_is_installed_is_this_repositorys() -> None:
    copied = dict(value.split(" ") for value in values(BUILD, "COPY"))
    built, installed = values(BUILD, "RUN")

    for source, target in copied.items():
        assert (ROOT / source / "pyproject.toml").is_file()
        assert f" {target}" in built
    # By name, it would be whoever's has that name in the package index.
    assert not [word for word in f"{built} {installed}".split() if word.startswith("mtls")]
    assert (FOLDER / "Dockerfile.dockerignore").read_text().split("\n")[1:4] == ["*", *(f"!{it}" for it in copied)]


def test_nothing_is_fetched_that_no_hash_is_given_for() -> None:
    assert not pins.unseen((FOLDER / "Dockerfile").read_text())
    for careless in (
        "RUN pip install --no-deps /source/client",
        "RUN true && pip install --require-hashes --requirement a.txt",
        "RUN pip wheel --no-index --no-deps /source",
        "RUN pip install --no-index /source",
    ):
        assert pins.unseen(careless)


@pytest.mark.parametrize("package", ["client", "sidecar"])
def test_what_is_pinned_builds_the_packages_with_no_network(package: str, tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / package / "pyproject.toml").read_text())
    (required,) = map(Requirement, project["build-system"]["requires"])
    (pinned,) = pins.lines((ROOT / "sidecar" / "build-requirements.txt").read_text())
    name, _, version = pinned.split(" ")[0].partition("==")
    assert canonicalize_name(required.name) == name == canonicalize_name(project["build-system"]["build-backend"])
    assert required.specifier.contains(version)
    assert metadata.version(name) == version

    source = shutil.copytree(ROOT / package, tmp_path / package)
    build = f"import uv_build; print(uv_build.build_wheel({str(tmp_path)!r}))"
    nowhere = {"UV_OFFLINE": "1", "ALL_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    # Where the backend finds its own program: without an isolated build, nobody else sees to it.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    assert "PATH=/opt/build/bin:$PATH pip wheel " in values(BUILD, "RUN")[0]
    built = subprocess.run(
        [sys.executable, "-c", build],
        cwd=source,
        env=os.environ | nowhere | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    with ZipFile(tmp_path / built.stdout.strip()) as wheel:
        assert f"mtls_{package}/__init__.py" in wheel.namelist()


def test_it_runs_the_sidecar_as_an_unprivileged_user_and_by_its_number() -> None:
    (user,), (entry_point,) = values(FINAL, "USER"), values(FINAL, "ENTRYPOINT")
    project = tomllib.loads((ROOT / "sidecar" / "pyproject.toml").read_text())["project"]

    # Kubernetes' runAsNonRoot takes a number only.
    assert all(part.isdigit() and int(part) > 0 for part in user.split(":"))
    assert json.loads(entry_point) == [SIDECAR]
    assert SIDECAR in project["scripts"]


def test_its_user_is_the_one_that_the_examples_run_it_as() -> None:
    (user,) = values(FINAL, "USER")
    sidecar = loaded(EXAMPLES / "ecs" / "task-definition.json")["containerDefinitions"][0]

    assert sidecar["name"] == SIDECAR
    assert sidecar["user"] == user
