"""Granted against used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kit.template import resources, roles
from tests.proof.least_privilege.elsewhere import ELSEWHERE
from tests.proof.least_privilege.granted import INVOKE, Grant, grants

REMEDY = "use it in tests/proof/least_privilege/scenario.py, or take it out of template.yaml"


@dataclass
class Usage:
    """What is granted, and what came of it.

    Attributes:
        granted: everything that the template grants.
        used: by grant, resources that it was used on.
        alone: the grants that were the only one to allow some request: take one away, and something fails.
        unknown: uses that fit no grant.
    """

    granted: tuple[Grant, ...] = field(default_factory=grants)
    used: dict[Grant, set[str]] = field(default_factory=dict)
    alone: set[Grant] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)

    def take(self, line: Mapping[str, Any]) -> None:
        """Take in one line of a record."""
        fitting = self._service(line) if "service" in line else self._role(line)
        if not fitting and _is_the_stacks(line):
            self.unknown.add(json.dumps(line, sort_keys=True))
        for grant in fitting:
            self.used.setdefault(grant, set()).add(line["resource"])
            if line.get("sole", True):
                self.alone.add(grant)

    def _role(self, line: Mapping[str, Any]) -> list[Grant]:
        return [
            it
            for it in self.granted
            if _is(line["role"], it.holder)
            and it.action == line["action"]
            and it.sid == line["sid"]
            and (it.policy == line["policy"] or _is(line["policy"], it.policy))
            and any(re.fullmatch(it.pattern, pattern) for pattern in line["patterns"])
        ]

    def _service(self, line: Mapping[str, Any]) -> list[Grant]:
        conditions = [it for of in json.loads(line["condition"]).values() for it in of.values()]
        sources = [line["source"], *(it for it in conditions if isinstance(it, str))]
        return [
            it
            for it in self.granted
            if it.policy == line["service"]
            and it.action == line["action"]
            and (it.sid == line["sid"] or _is(line["sid"], it.sid))
            and _is(line["resource"].rpartition(":")[2], it.holder)
            and any(re.fullmatch(it.pattern, source) for source in sources)
        ]

    @property
    def unused(self) -> list[Grant]:
        """What is granted, was never used, and is not said elsewhere to be needed."""
        return [it for it in self.granted if it not in self.used and not _elsewhere(it)]

    @property
    def redundant(self) -> list[tuple[str, str, str]]:
        """The statements that never were the only one to allow something: role, policy, sid."""
        statements = {(it.holder, it.policy, it.sid) for it in self.used}
        return sorted(statements - {(it.holder, it.policy, it.sid) for it in self.alone})


def usage(records: Iterable[Path]) -> Usage:
    """Read the records of any number of local AWSs."""
    found = Usage()
    for record in records:
        for line in record.read_text().splitlines():
            found.take(json.loads(line))
    return found


def difference(records: Iterable[Path]) -> list[str]:
    """What is granted and was never used, and what was used and fits no grant; a line for each. Empty is the aim."""
    return lines(usage(records))


def lines(found: Usage) -> list[str]:
    """The same, of what was read already."""
    unused = [f"granted, and never used: {it}; {REMEDY}" for it in found.unused]
    unknown = [f"used, and not in the template: {it}" for it in sorted(found.unknown)]
    stale = [it for it in ELSEWHERE if any(it.covers(grant) for grant in found.used)]
    known = [
        f"used here after all, so take it out of tests/proof/least_privilege/elsewhere.py: {it.sid}" for it in stale
    ]
    known += [
        f"stands in tests/proof/least_privilege/elsewhere.py, and grants nothing: {it.sid}" for it in _without(found)
    ]
    return unused + unknown + known


def _without(found: Usage) -> list[Any]:
    return [it for it in ELSEWHERE if not any(it.covers(grant) for grant in found.granted)]


def _elsewhere(grant: Grant) -> bool:
    return any(it.covers(grant) for it in ELSEWHERE)


def _is(physical: str, logical: str) -> bool:
    """Whether CloudFormation made this name from that logical id: stack, logical id, and what makes it unique."""
    return re.fullmatch(rf"(.*-)?{logical}(-[A-Za-z0-9]+)?", physical) is not None


def _is_the_stacks(line: Mapping[str, Any]) -> bool:
    """Whether it is by a role of the template, or to a function of it; tests make others."""
    if "role" in line:
        return any(_is(line["role"], role) for role in roles())
    functions = [name for name, it in resources().items() if it["Type"] == "AWS::Serverless::Function"]
    end = line["resource"].rpartition(":")[2]
    return line["action"] == INVOKE and any(_is(end, function) for function in functions)
