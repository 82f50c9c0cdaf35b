"""What reaches a terminal: no foreign string moves its cursor, and no private key is ever among it."""

from __future__ import annotations

import os
import re
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, override

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import ConsoleOptions, RenderableType

# C0 without tab and line feed, C1, and what turns the direction of writing round.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(.*?-----END [A-Z0-9 ]*PRIVATE KEY-----|.*)", re.DOTALL)


_WORD = re.compile("[^ \t\n]+")
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
        """As ever, but no word is broken or cut: the terminal goes on in the next line, and what is copied is whole.

        Where nobody has a screen, no line is filled up with blanks to its width.
        """
        whole: dict[str, Any] = {"crop": False, **settings}
        if not settings.get("soft_wrap") and all(isinstance(it, Text) for it in objects):
            objects = tuple(between_words(it, self.width) for it in objects)
            whole["soft_wrap"] = True  # it is wrapped already
        if self.width != _ENDLESS:
            super().print(*objects, **whole)
            return
        with self.capture() as captured:
            super().print(*objects, **whole)
        self.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))

    @override
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for it in super().render(renderable, options):
            yield it if it.control else Segment(tame(it.text), it.style)


def make_do() -> None:
    """Make do with the terminal as it is.

    One that lacks a sign gets a question mark for it. Some shells export COLUMNS=0: rich then prints nothing.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    for name in ("COLUMNS", "LINES"):
        size = os.environ.get(name, "1")
        if not (size.isascii() and size.isdigit() and int(size[:9]) > 0):
            del os.environ[name]


def in_one_piece(name: str) -> str:
    """A name whose blanks are no places to break it at: see `between_words`."""
    return name.replace(" ", "\N{NO-BREAK SPACE}")


def words_of(text: str) -> list[str]:
    """What is never broken of a text."""
    return re.findall(_WORD, text)


def between_words(text: Text, width: int) -> Text:
    """A text in lines no longer than this where words allow it. A longer word stays whole: the terminal breaks it."""
    lines = Text("\n").join(_lines(text, width))
    lines.plain = lines.plain.replace("\N{NO-BREAK SPACE}", " ")
    lines.no_wrap, lines.overflow = True, "ignore"
    return lines


def _lines(text: Text, width: int) -> Iterator[Text]:
    for paragraph in text.split("\n", allow_blank=True):
        breaks, begin = [], 0
        for word in re.finditer(_WORD, paragraph.plain):
            if word.start() > begin and cell_len(paragraph.plain[begin : word.end()]) > width:
                begin = word.start()
                breaks.append(begin)
        for it in paragraph.divide(breaks):
            if breaks:
                it.rstrip()
            yield it


def tame(text: str) -> str:
    """A string in which every control character is a mark, so that a terminal shows it and does nothing else."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def in_one_line(text: str) -> str:
    """The same, without line feeds: a line of its own never begins with foreign words."""
    return tame(text).replace("\n", " ")


def without_keys(text: str) -> str:
    """A string without the private keys in it: an operator may have given a key where a file's name belongs."""
    return _KEY.sub("(a private key)", text)
