"""Each question that the local AWS has two answers to is asked of AWS, and each probe says what it needs to be read."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest

from acceptance.probes.api import Probe
from acceptance.probes.registry import PROBES
from localaws import Settings

ROOT = Path(__file__).parents[3]


def test_every_question_that_is_open_is_asked() -> None:
    text = (ROOT / "docs" / "local-aws.md").read_text()
    table = text.partition("\n## Where AWS leaves it open\n")[2].partition("\n## ")[0]
    open_settings = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))

    assert open_settings
    assert open_settings - {it.setting for it in PROBES} == set()


def test_every_probe_has_a_name_of_its_own_that_is_that_of_its_module() -> None:
    modules = {path.stem.replace("_", "-") for path in (ROOT / "acceptance" / "probes").glob("*.py")}

    assert Counter(it.name for it in PROBES).most_common(1)[0][1] == 1
    assert {it.name for it in PROBES} <= modules


@pytest.mark.parametrize("probe", PROBES, ids=lambda it: it.name)
def test_a_probe_says_what_it_asks_whose_page_leaves_it_open_and_what_there_may_be(probe: Probe) -> None:
    assert probe.question.endswith("?")
    assert probe.how.endswith(".")
    assert re.match(r"https://(docs\.aws\.amazon\.com|repost\.aws|github\.com/aws-cloudformation)/", probe.source)
    assert len(probe.readings) > 1
    assert probe.setting in {"", *(it.name for it in fields(Settings))}
