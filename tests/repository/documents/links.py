"""Links between documents: where they lead, and what can be led to."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(text: str) -> str:
    """A document without its blocks of code, fenced or indented, and without code in its lines."""
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"(?<=\n)\n(?: {4}.*\n)+", "\n", text)
    return re.sub(r"`[^`\n]*`", "`code`", text)


def targets(text: str) -> list[str]:
    """The relative links of a document."""
    return [target for target in LINK.findall(prose(text)) if "://" not in target and not target.startswith("mailto:")]


def anchors(text: str) -> set[str]:
    """What a link may have behind its #, as GitHub makes it of headings: the second of a name gets a number."""
    fences = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.+?)#*$", fences, re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def broken(path: Path) -> list[str]:
    """The links of a document that lead nowhere."""
    text, lost = path.read_text(), []
    for target in targets(text):
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        if not found.exists() or (anchor and anchor not in anchors(found.read_text())):
            lost.append(target)
    return lost
