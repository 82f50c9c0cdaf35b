"""What reaches a terminal: no foreign string moves its cursor, and no private key is ever among it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, override

from rich.console import Console
from rich.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType

# C0 without tab and line feed, C1, and what turns the direction of writing round.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(.*?-----END [A-Z0-9 ]*PRIVATE KEY-----|.*)", re.DOTALL)


# As wide as no line is: what is piped on is neither wrapped nor cut.
_ENDLESS = 10_000


class Terminal(Console):
    """A console for foreign strings: certificates' subjects, uploads' names, servers' answers.

    Text is never markup: `[red]` and `:secret:` are what they are. What is not shown on a screen is not cut to one.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"emoji": False, "markup": False, "highlight": False} | settings)
        if not self.is_terminal and "COLUMNS" not in os.environ and "width" not in settings:
            self.width = _ENDLESS

    @override
    def print(self, *objects: Any, **settings: Any) -> None:
        """As ever; but where nobody has a screen, no line is filled up with blanks to its width."""
        if self.width != _ENDLESS:
            super().print(*objects, **settings)
            return
        with self.capture() as captured:
            super().print(*objects, **settings)
        self.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))

    @override
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for it in super().render(renderable, options):
            yield it if it.control else Segment(tame(it.text), it.style)


def tame(text: str) -> str:
    """A string in which every control character is a mark, so that a terminal shows it and does nothing else."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def in_one_line(text: str) -> str:
    """The same, without line feeds: a line of its own never begins with foreign words."""
    return tame(text).replace("\n", " ")


def without_keys(text: str) -> str:
    """A string without the private keys in it: an operator may have given a key where a file's name belongs."""
    return _KEY.sub("(a private key)", text)
