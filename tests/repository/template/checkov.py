"""checkov on the templates: what it finds, and what is suppressed for which reason.

A suppression stands at its resource (`Metadata`, `checkov`, `skip`), with its reason. checkov leaves out what a
condition leaves out by default, and takes an `Fn::If` that it cannot decide for a value. So it looks at the templates
as they are, as anybody would run it, and at both decisions of every condition, with nothing suppressed.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo import sam
from tests.kit.template import load
from tests.repository.template.cloudformation import TEMPLATES, decided, origin, without_metadata, written_out

CHECKOV = sam.ROOT / ".venv-checkov" / "bin" / "checkov"
# A reason is a sentence: "not needed" is none.
SHORTEST_REASON = 30


class CheckovError(Exception):
    """checkov did not say what it found."""


@dataclass(frozen=True, order=True)
class Finding:
    """A check that a resource fails."""

    template: str
    resource: str
    check: str

    def __str__(self) -> str:
        return f"{self.template}: {self.resource}: {self.check}"


@dataclass(frozen=True)
class Suppression:
    """A finding that the template explains."""

    finding: Finding
    reason: str


@dataclass(frozen=True)
class Report:
    """What checkov says of some files.

    Attributes:
        failed: file → the resources and checks that failed, with the check's words.
        passed: how many checks passed.
    """

    failed: Mapping[str, Mapping[tuple[str, str], str]]
    passed: int


@dataclass(frozen=True)
class Verdict:
    """What holds after both looks.

    Attributes:
        failures: what is found and not explained, or explained and not found.
        suppressions: all of them.
        passed: how many checks passed, on the templates as they are and with their conditions decided.
    """

    failures: list[str]
    suppressions: list[Suppression]
    passed: int


def suppressions(name: str, template: Mapping[str, Any]) -> list[Suppression]:
    """All that a template suppresses."""
    return [
        Suppression(Finding(name, resource, str(skip.get("id", ""))), str(skip.get("comment", "")))
        for resource, definition in template["Resources"].items()
        for skip in definition.get("Metadata", {}).get("checkov", {}).get("skip", [])
    ]


def judge(found: Mapping[Finding, str], explained: Iterable[Suppression]) -> list[str]:
    """What is wrong between what was found with nothing suppressed, and what is suppressed."""
    given = {suppression.finding: suppression.reason for suppression in explained}
    unexplained = [f"{finding}: {words}" for finding, words in sorted(found.items()) if finding not in given]
    unneeded = [f"{finding} is suppressed, and never found: take it out" for finding in sorted(given.keys() - found)]
    unsaid = [
        f"{finding} is suppressed without a reason: say why it is well as it is"
        for finding, reason in sorted(given.items())
        if len(reason) < SHORTEST_REASON
    ]
    return unexplained + unneeded + unsaid


def run(templates: Iterable[Path] = TEMPLATES) -> Verdict:
    """Have checkov look at the templates.

    Raises:
        CheckovError: it did not come to an end.
    """
    read = {path: (path.relative_to(sam.ROOT).as_posix(), load(path)) for path in templates}
    explained = [it for name, template in read.values() for it in suppressions(name, template)]
    with tempfile.TemporaryDirectory() as directory:
        made: dict[str, tuple[str, dict[str, Any]]] = {}
        for number, (name, template) in enumerate(read.values()):
            for answer in (True, False):
                path = Path(directory) / f"{number}-{answer}.json"
                resolved = written_out(without_metadata(decided(template, answer)))
                path.write_text(json.dumps(resolved, indent=1))
                made[str(path)] = (name, template)
        report = look([*read, *map(Path, made)])
    found = {
        Finding(name, origin(resource, template["Resources"]), check): words
        for path, (name, template) in made.items()
        for (resource, check), words in report.failed.get(path, {}).items()
    }
    shown = [
        f"{name}: {resource}: {check}: {words}, as checkov is run by anybody"
        for path, (name, _) in read.items()
        for (resource, check), words in report.failed.get(str(path), {}).items()
    ]
    return Verdict(judge(found, explained) + shown, explained, report.passed)


def look(files: Iterable[Path]) -> Report:
    """Run checkov, which asks nothing of any server."""
    command = [str(CHECKOV), "--framework", "cloudformation", "--skip-download", "--quiet", "--compact"]
    finished = subprocess.run(
        [*command, "--output", "json", *(part for path in files for part in ("--file", str(path)))],
        env={name: value for name, value in os.environ.items() if not name.startswith(("BC_", "CKV_", "CHECKOV_"))},
        cwd=sam.ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return reading(json.loads(finished.stdout))
    except (ValueError, KeyError, TypeError) as error:
        raise CheckovError(
            f"checkov ended with status {finished.returncode} and no report; `make lint` installs it:\n"
            f"{finished.stderr}"
        ) from error


def reading(report: Mapping[str, Any]) -> Report:
    """What a report of checkov's says."""
    summary = report["summary"]
    if summary["parsing_errors"] or not summary["resource_count"]:
        raise ValueError(f"not every file could be read: {summary}")
    failed: dict[str, dict[tuple[str, str], str]] = {}
    for check in report["results"]["failed_checks"]:
        resource = check["resource"].rpartition(".")[2]
        failed.setdefault(check["file_abs_path"], {})[resource, check["check_id"]] = check["check_name"]
    return Report(failed, summary["passed"])
