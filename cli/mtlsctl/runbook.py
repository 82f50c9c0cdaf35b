"""The runbook, docs/operations.md, which is shipped with the package: its sections, and what each is about. Pure.

`runbook.md` beside this is a symbolic link to it; a build of the package puts the file in its place. The text's links
are relative to docs/, so a section has in their place what a reader at a shell can follow.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADING = re.compile(r"^(#{2,4}) (.+)$")
_CODE = re.compile(r"MTLS-\d+")
# The heading of what is said of all that AWS refuses.
_AWS_CODE = "AWS."
_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
_FENCED = re.compile(r"(^ *```.*?^ *```)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with what stands under it, up to the next heading."""

    heading: str
    text: str


def sections() -> tuple[Section, ...]:
    """The runbook's sections in their order."""
    text = resources.files("mtlsctl").joinpath("runbook.md").read_text(encoding="utf-8")
    found = parse(text)
    headings = {slug(it.heading): it.heading for it in found}
    return tuple(Section(it.heading, followable(it.text, headings)) for it in found)


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


def slug(heading: str) -> str:
    """What a link to a heading has behind its #."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def followable(text: str, headings: Mapping[str, str]) -> str:
    """A text with commands in the place of its links to headings, and paths in the repository for other documents.

    Args:
        text: Markdown. What is fenced in it stays as it is.
        headings: of the runbook, by slug.
    """
    parts = _FENCED.split(text)
    parts[::2] = [_LINK.sub(lambda link: _followable(link[1], link[2], headings), it) for it in parts[::2]]
    return "".join(parts)


def _followable(label: str, target: str, headings: Mapping[str, str]) -> str:
    if "://" in target:
        return f"[{label}]({target})"
    file, _, anchor = target.partition("#")
    if file:
        path = posixpath.normpath(f"docs/{target}")
        return path if label == file else f"{label} ({path})"
    heading = headings.get(anchor, label)
    code = _CODE.match(heading)
    command = f"`mtlsctl explain {code[0]}`" if code else f'`mtlsctl explain "{heading}"`'
    return command if label in {heading, code and code[0]} else f"{label} ({command})"


def about(topic: str, among: tuple[Section, ...]) -> list[Section]:
    """The sections about a code, an alarm or a subject.

    Those whose heading names the topic come alone; if there are none, those whose text does. An alarm's name may have
    CloudFormation's additions round it, as `describe-alarms` shows it. AWS's own codes have one section together.
    """
    alarm = re.search(r"([A-Z][A-Za-z]+Alarm)\b", topic.replace("-", " "))
    wanted = (alarm[1] if alarm else _AWS_CODE if topic.startswith("AWS.") else topic).casefold()
    named = [it for it in among if wanted in it.heading.casefold()]
    return named or [it for it in among if wanted in it.text.casefold()]


def nearest(topic: str, among: tuple[Section, ...], how_many: int = 3) -> list[str]:
    """The topics that are most like one that is none: codes, alarms and headings."""
    topics = [_CODE.match(it.heading) for it in among]
    names = dict.fromkeys(code[0] if code else it.heading for code, it in zip(topics, among, strict=True))
    by_folded = {it.casefold(): it for it in names}
    return [by_folded[it] for it in get_close_matches(topic.casefold(), by_folded, how_many, cutoff=0.0)]
