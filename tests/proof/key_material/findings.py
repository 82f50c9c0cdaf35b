"""What was found, told without repeating it."""

from __future__ import annotations

import re
from dataclasses import dataclass

CONTEXT = 48
# Whatever could be a part of a key, when the text before a finding is quoted.
_PERHAPS_A_KEY = re.compile(r"[A-Za-z0-9+/_=-]{12,}|(?:[0-9A-Fa-f]{2}[:, ]{1,2}){4,}|(?:\d+,\s*){4,}")


@dataclass(frozen=True)
class Finding:
    """Key material in a place.

    Attributes:
        place: a file, a log, an object: where it was found.
        offset: the byte at which it begins, in the place itself, not in what was decoded.
        kind: what it is.
        decoded: what had to be undone to see it, from the outside inwards.
        context: the text before it. Never the key.
    """

    place: str
    offset: int
    kind: str
    decoded: tuple[str, ...]
    context: str

    def __str__(self) -> str:
        wrapped = f" in {', in '.join(reversed(self.decoded))}" if self.decoded else ""
        return f"{self.place}, byte {self.offset}: {self.kind}{wrapped}, after {self.context!r}"


def by_place(findings: list[Finding]) -> list[str]:
    """A line for each place: the first that was found there, and how many more there are."""
    lines = []
    for place in dict.fromkeys(it.place for it in findings):
        first, *more = [it for it in findings if it.place == place]
        lines.append(f"{first}, and {len(more)} more there" if more else str(first))
    return lines


def context(view: bytes, offset: int) -> str:
    """The text before an offset, with all blacked out that could be a key."""
    before = view[max(0, offset - 4 * CONTEXT) : offset].decode("latin-1")
    masked = _PERHAPS_A_KEY.sub("█", before)
    return "".join(it if it.isprintable() and (it.isascii() or it == "█") else "·" for it in masked)[-CONTEXT:]
