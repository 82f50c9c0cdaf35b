"""The runbook, docs/operations.md, which is shipped with the package: its sections, and what each is about. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources

_HEADING = re.compile(r"^(#{2,4}) (.+)$")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with what stands under it, up to the next heading."""

    heading: str
    text: str


def sections() -> tuple[Section, ...]:
    """The runbook's sections in their order."""
    text = resources.files("mtlsctl").joinpath("runbook.md").read_text(encoding="utf-8")
    return tuple(parse(text))


def parse(text: str) -> list[Section]:
    """The sections of a Markdown text. What looks like a heading within a fenced block is none."""
    found: list[tuple[str, list[str]]] = []
    fenced = False
    for line in text.splitlines():
        fenced ^= line.lstrip().startswith("```")
        if not fenced and (match := _HEADING.match(line)):
            found.append((match[2], []))
        elif found:
            found[-1][1].append(line)
    return [Section(heading, "\n".join(lines).strip()) for heading, lines in found]


def about(topic: str, among: tuple[Section, ...]) -> list[Section]:
    """The sections about a code, an alarm or a subject.

    Those whose heading names the topic come alone; if there are none, those whose text does. An alarm's name may have
    CloudFormation's additions round it, as `describe-alarms` shows it.
    """
    alarm = re.search(r"([A-Z][A-Za-z]+Alarm)\b", topic.replace("-", " "))
    wanted = (alarm[1] if alarm else topic).casefold()
    named = [it for it in among if wanted in it.heading.casefold()]
    return named or [it for it in among if wanted in it.text.casefold()]
