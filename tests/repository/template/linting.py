"""cfn-lint on the templates, its informational rules included."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cfnlint.core import get_rules  # type: ignore[import-untyped]

from demo import sam
from tests.kit.template import load
from tests.repository.template.cloudformation import TEMPLATES

LEVELS = ("E", "W", "I")
# One region for each partition that the template could be deployed in, and the one that most read of. All at once take
# minutes.
REGIONS = ("us-east-1", "eu-west-1", "us-gov-west-1", "cn-north-1")
# The one thing that a template may tell cfn-lint: yes, CloudFormation takes no merges (`<<`), and `sam build` resolves
# them. tests/proof/quick/test_artefacts.py holds that none is in what is deployed.
MERGED_BY_SAM = {"config": {"ignore_checks": ["W1100"]}}


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
    """Have cfn-lint look at the templates. A template that leaves out one of its rules is a failure too."""
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
    failures += [f"{name}: ignores rules of cfn-lint" for name, template in read.items() if silences(template)]
    return Verdict(
        failures, len(get_rules([], [], list(LEVELS))), {name: len(it["Resources"]) for name, it in read.items()}
    )


def silences(template: dict[str, Any]) -> bool:
    """Whether a template leaves out rules: any, anywhere, but the one on merges where SAM resolves them."""
    metadata = dict(template.get("Metadata", {}))
    if "Transform" in template and metadata.get("cfn-lint") == MERGED_BY_SAM:
        del metadata["cfn-lint"]
    return '"cfn-lint"' in json.dumps({**template, "Metadata": metadata})
