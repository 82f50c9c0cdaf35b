"""Whatever is installed, here and in a layer, is pinned to a version and checked against a hash."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from demo import sam

REQUIREMENTS = (
    "layers/rotation/requirements.txt",
    "client/requirements.txt",
    "sidecar/requirements.txt",
    "sidecar/build-requirements.txt",
    "tools/uv.txt",
    "tools/checkov.txt",
)
MAKEFILES = ("Makefile", "layers/rotation/Makefile", "client/Makefile")
WORKFLOW = ".github/workflows/ci.yml"
PINNED = re.compile(r"[\w.-]+(\[[\w,-]+\])?==[\w.!+]+( ; [^#]+?)?( --hash=sha256:[0-9a-f]{64})+")
DOCKERFILE = "examples/sidecar-image/Dockerfile"
INSTALLS = re.compile(r"\bpip (install|download|sync)\b")
# What of pip's ends in code being run, which an isolated build would fetch.
RUNS_A_BUILD = re.compile(r"\bpip (install|wheel|download)\b")
ACTION = re.compile(r"uses:\s*(\S+)(.*)")
PINNED_ACTION = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")


def failures() -> list[str]:
    """What is not pinned."""
    found = []
    for path in REQUIREMENTS:
        found += [f"{path}: {line}" for line in unpinned(_read(path))]
    found += [f"uv.lock: {line}" for line in unlocked(tomllib.loads(_read("uv.lock")))]
    for path in MAKEFILES:
        found += [f"{path}: {line}" for line in unchecked(_read(path))]
    found += [f"{DOCKERFILE}: {line}" for line in unseen(_read(DOCKERFILE))]
    return found + [f"{WORKFLOW}: {line}" for line in unpinned_actions(_read(WORKFLOW))]


def counts() -> dict[str, int]:
    """How many packages each file pins."""
    pinned = {path: len(lines(_read(path))) for path in REQUIREMENTS}
    locked = tomllib.loads(_read("uv.lock"))["package"]
    return pinned | {"uv.lock": sum("registry" in package["source"] for package in locked)}


def unpinned(requirements: str) -> list[str]:
    """The lines of a requirements file that are not one version with its hashes."""
    found = lines(requirements)
    return [f"{line[:80]} has no version or no hash" for line in found if not PINNED.fullmatch(line)] or (
        [] if found else ["requires nothing"]
    )


def unlocked(lock: Mapping[str, Any]) -> list[str]:
    """The packages of `uv.lock` that could come as something else than they were."""
    found = []
    for package in lock["package"]:
        source, name = package["source"], f"{package['name']} {package.get('version', '')}"
        if {"editable", "virtual"} & source.keys():
            continue  # this repository's own
        if "registry" not in source:
            found.append(f"{name} comes from {source}, which is no index")
        files = [*([package["sdist"]] if "sdist" in package else []), *package.get("wheels", [])]
        if not files or not all(re.fullmatch(r"sha256:[0-9a-f]{64}", it.get("hash", "")) for it in files):
            found.append(f"{name} has a file without a hash")
    return found


def unchecked(makefile: str) -> list[str]:
    """The commands of a Makefile that install something unseen. Variables are looked at where they are set.

    What has no wheel would be built, by a build backend that no hash was given for.
    """
    joined = makefile.replace("\\\n", " ")
    commands = [line.strip() for line in joined.splitlines() if not line.lstrip().startswith(("#", "@echo"))]
    seen = ("--require-hashes", "--only-binary :all:")
    found = [it for it in commands if INSTALLS.search(it) and not all(option in it for option in seen)]
    return found + [it for it in commands if re.search(r"\bsync\b", it) and "$(UV) sync" in it and "--frozen" not in it]


def unseen(dockerfile: str) -> list[str]:
    """The commands of a Dockerfile that install what no hash was given for, or build with what an index has by then."""
    joined = re.sub(r"^#.*\n", "", dockerfile, flags=re.MULTILINE).replace("\\\n", " ")
    commands = [it.strip() for line in joined.splitlines() for it in line.split("&&") if RUNS_A_BUILD.search(it)]
    return [
        f"{it} fetches what is not checked"
        for it in commands
        if not ("--require-hashes" in it and "--only-binary :all:" in it)
        and not ("--no-index" in it and ("--no-build-isolation" in it or it.endswith(".whl")))
    ]


def unpinned_actions(workflow: str) -> list[str]:
    """The actions that a workflow names by something that can be moved, or whose version nobody can read."""
    return [
        f"{action}{rest} is not a commit with its version beside it"
        for action, rest in ACTION.findall(workflow)
        if not (PINNED_ACTION.fullmatch(action) and re.fullmatch(r" # v[\d.]+", rest.rstrip()))
    ]


def lines(requirements: str) -> list[str]:
    """The requirements of a file, each on one line."""
    joined = requirements.replace("\\\n", " ")
    single = (re.sub(r"\s+", " ", line).strip() for line in joined.splitlines())
    return [line for line in single if line and not line.startswith("#")]


def _read(path: str) -> str:
    return (sam.ROOT / path).read_text()
