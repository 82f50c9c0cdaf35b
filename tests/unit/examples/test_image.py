"""The sidecar's Dockerfile: of this repository's packages, on the runtime's Python, as nobody in particular."""

from __future__ import annotations

import json
import tomllib

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
    assert (len(BUILD), len(FINAL)) == (4, 5)


def test_both_stages_have_the_python_that_the_packages_ask_for() -> None:
    for stage in (BUILD, FINAL):
        assert values(stage, "FROM")[0].split(" ")[0] == "python:3.13-slim"
    for package in ("client", "sidecar"):
        project = tomllib.loads((ROOT / package / "pyproject.toml").read_text())["project"]
        assert project["requires-python"] == ">=3.13"


def test_what_is_installed_is_this_repositorys() -> None:
    copied = dict(value.split(" ") for value in values(BUILD, "COPY"))
    (command,) = values(BUILD, "RUN")

    for source, target in copied.items():
        assert (ROOT / source / "pyproject.toml").is_file()
        assert f" {target}" in command
    # By name, it would be whoever's has that name in the package index.
    assert not [word for word in command.split() if word.startswith("mtls")]
    assert (FOLDER / "Dockerfile.dockerignore").read_text().split("\n")[1:4] == ["*", *(f"!{it}" for it in copied)]


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
