"""cfn-lint on the templates, its informational rules included."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cfnlint.core import get_rules  # type: ignore[import-untyped]

from demo import sam
from tests.kit.template import load
from tests.repository.template.cloudformation import TEMPLATES

LEVELS = ("E", "W", "I")
# One region for each partition that the template could be deployed in, and the one that most read of. All at once take
# minutes.
REGIONS = ("us-east-1", "eu-west-1", "us-gov-west-1", "cn-north-1")


@dataclass(frozen=True)
class Verdict:
    """What cfn-lint says.

    Attributes:
        failures: a line for each thing that it found.
        rules: how many it has.
        resources: how many it looked at, by template.
    """

    failures: list[str]
    rules: int
    resources: dict[str, int]


def run(templates: Iterable[Path] = TEMPLATES) -> Verdict:
    """Have cfn-lint look at the templates. None of its rules is left out: a template that does so is a failure too."""
    paths = list(templates)
    read = {path.relative_to(sam.ROOT).as_posix(): load(path) for path in paths}
    command = [
        str(Path(sys.executable).with_name("cfn-lint")),
        "--include-checks",
        *LEVELS,
        "--regions",
        *REGIONS,
        "--format",
        "json",
    ]
    finished = subprocess.run(
        [*command, "--template", *map(str, paths)], cwd=sam.ROOT, capture_output=True, text=True, check=False
    )
    found = json.loads(finished.stdout or "[]")
    failures = [
        f"{Path(it['Filename']).relative_to(sam.ROOT)}:{it['Location']['Start']['LineNumber']}: {it['Rule']['Id']}: "
        f"{it['Message']}"
        for it in found
    ]
    if finished.returncode and not failures:
        failures = [f"cfn-lint ended with status {finished.returncode}: {finished.stderr}"]
    failures += [
        f"{name}: ignores rules of cfn-lint" for name, template in read.items() if '"cfn-lint"' in json.dumps(template)
    ]
    return Verdict(
        failures, len(get_rules([], [], list(LEVELS))), {name: len(it["Resources"]) for name, it in read.items()}
    )
