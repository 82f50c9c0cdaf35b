"""The shell commands of README.md and docs/: found where they stand, in blocks, tables and sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.repository.documents import ROOT

# What a line of a block, or code in a sentence, begins with if it is a command.
PROGRAMS = {
    *("aws", "sam", "make", "mtlsctl", "mtls-sidecar", "curl", "openssl", "jq", "base64", "grep", "step", "vault"),
    *("uv", "uvx", "pip", "python", "python3", ".venv/bin/python", "pytest", "git", "present", "swapon", "haproxy"),
    *("kubectl", "helm", "docker", "sudo", "systemctl", "cd", "export", "log", "resource", "output"),
}
# A function or a variable of the shell.
DEFINITION = re.compile(r"[A-Za-z_]+(\(\) \{|=\$\()")
# Commands of mtlsctl that do nothing without an argument.
NEED_ARGUMENTS = {"explain", "verify", "rotate", "create", "import", "revoke", "export", "truststore"}
LANGUAGES = {"sh", "bash", "shell"}


@dataclass(frozen=True)
class Command:
    """One command line.

    Attributes:
        document: the document's path in the repository.
        text: the whole of it, lines that go on put together.
    """

    document: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}: {self.text}"


def documents() -> list[Path]:
    """Where every command must be run or accounted for."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@cache
def commands() -> tuple[Command, ...]:
    """Every command, in the order of the documents and of the lines."""
    return tuple(found for path in documents() for found in of(path.read_text(), str(path.relative_to(ROOT))))


def of(text: str, document: str) -> Iterator[Command]:
    """The commands of one document."""
    lines, number, fence = text.splitlines(), 0, ""
    while number < len(lines):
        line = lines[number]
        if match := re.fullmatch(r" *(```+|~~~+) *(\w*).*", line):
            fence = "" if fence else match[2] or "none"
            number += 1
            continue
        block = fence in {"none", "console"} or (not fence and line.startswith("    "))
        if fence in LANGUAGES or block:
            code = line.strip()
            prompted = code.startswith("$ ")
            code = code.removeprefix("$ ")
            if (
                code
                and not code.startswith("# ")
                and (prompted or ((fence != "none") and (fence in LANGUAGES or _begins(code))))
            ):
                taken, whole = _whole(lines, number, code)
                yield Command(document, number + 1, whole)
                number += taken
                continue
        elif not fence:
            for inline in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", line):
                if _begins(inline) and not _mention(inline):
                    yield Command(document, number + 1, inline)
        number += 1


def _begins(code: str) -> bool:
    return code.split()[0] in PROGRAMS or bool(DEFINITION.match(code))


def _mention(code: str) -> bool:
    """Whether a sentence only names a program or one of its operations, and runs nothing."""
    words = code.split()
    shortest = {"aws": 4, "sam": 3}
    if words[0] == "mtlsctl" and len(words) == 2 and words[1] in NEED_ARGUMENTS:
        return True
    return len(words) < shortest.get(words[0], 2) or code in {"sam local invoke", "sam validate --lint"}


def _whole(lines: list[str], number: int, code: str) -> tuple[int, str]:
    """How many lines a command takes, and all of it: it goes on after a backslash or a pipe, in quotes and braces."""
    taken = 1
    while number + taken < len(lines) and _goes_on(code):
        following = lines[number + taken].strip()
        code = f"{code}\n{following}" if _in_braces(code) else f"{code.removesuffix('\\').rstrip()} {following}"
        taken += 1
    return taken, code


def _goes_on(code: str) -> bool:
    return code.endswith(("\\", "|")) or code.count("'") % 2 == 1 or _in_braces(code)


def _in_braces(code: str) -> bool:
    return bool(re.match(r"\w+\(\) \{", code)) and not code.rstrip().endswith("}") and not code.endswith("\\")
