"""The examples as the tests look at them: every file, what its YAML or JSON holds, and the sidecar's command lines."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
DOCUMENTS = sorted((ROOT / "docs" / "clients").glob("*.md"))
SCHEMAS = Path(__file__).parent / "schemas"
MADE = {"__pycache__", ".aws-sam"}  # by running them
FILES = sorted(path for path in EXAMPLES.rglob("*") if path.is_file() and not MADE & set(path.parts))

SECRET = "mtls-rotation/client"
SIDECAR = "mtls-sidecar"
# Custom resources are not Kubernetes' own, and CloudFormation's templates no resources of Kubernetes at all.
_TEMPLATES = {"pod-identity.yaml", "template.yaml"}


def named(path: Path) -> str:
    return str(path.relative_to(EXAMPLES))


def loaded(path: Path) -> Any:
    return json.loads(path.read_text())


@dataclass(frozen=True)
class Resource:
    """One document of a manifest."""

    path: Path
    body: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.body["kind"])

    @property
    def pod(self) -> dict[str, Any]:
        pod: dict[str, Any] = self.body["spec"]["template"]["spec"]
        return pod

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.pod.get("initContainers", []), *self.pod["containers"]]

    def container(self, name: str) -> dict[str, Any]:
        (found,) = [it for it in self.containers if it["name"] == name]
        return found

    def __str__(self) -> str:
        return f"{named(self.path)}-{self.kind}"


RESOURCES = [
    Resource(path, body)
    for path in FILES
    if path.suffix == ".yaml" and path.name not in _TEMPLATES
    for body in yaml.safe_load_all(path.read_text())
]
DEPLOYMENTS = [resource for resource in RESOURCES if resource.kind == "Deployment"]


@dataclass(frozen=True)
class Command:
    """A command line of the sidecar, without the program's name, and where it stands."""

    where: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return self.where


def blocks(text: str, *languages: str) -> list[str]:
    """What stands in a document's fenced blocks of these languages, or of none."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [body for language, body in found if language in languages]


def joined(text: str) -> list[str]:
    """The lines of a shell script or a unit, those that a backslash continues put together."""
    return re.sub(r"\\\n\s*", "", text).splitlines()


def commands() -> Iterator[Command]:
    """Every command line of the sidecar in examples and documents."""
    for resource in DEPLOYMENTS:
        for container in resource.containers:
            if container["name"] == SIDECAR:
                yield Command(named(resource.path), tuple(container["args"]))
    for path in (EXAMPLES / "ecs").glob("task-definition*.json"):
        for container in loaded(path)["containerDefinitions"]:
            if container["name"] == SIDECAR:
                yield Command(named(path), tuple(container["command"]))
    for path in FILES:
        if path.suffix in (".service", ".conf"):
            for line in joined(path.read_text()):
                if line.startswith("Exec") and f"/{SIDECAR} " in line:
                    yield Command(named(path), tuple(shlex.split(line.partition("=")[2])[1:]))
    for path in DOCUMENTS:
        for line in joined(path.read_text()):
            if line.startswith(f"    {SIDECAR} "):
                yield Command(path.name, tuple(shlex.split(line)[1:]))


COMMANDS = list(commands())
