"""The question before anything is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO


class UnansweredError(Exception):
    """Nobody can be asked, and nobody has said yes beforehand."""


class DeclinedError(Exception):
    """The answer was no."""


def ask(question: str, *, yes: bool, terminal: IO[str], answer: Callable[[str], str] = input) -> None:
    """Ask, and return if the answer is yes.

    Args:
        question: a question that is answered with y or n.
        yes: whether it was answered beforehand.
        terminal: where the answer comes from.
        answer: asks and reads.

    Raises:
        UnansweredError: there is no terminal.
        DeclinedError: the answer is anything but yes.
    """
    if yes:
        return
    if not terminal.isatty():
        raise UnansweredError("Nothing was made: there is no terminal to ask at. Say YES=1 if it is to go on.")
    try:
        given = answer(f"{question} [y/N] ")
    except EOFError:
        given = ""
    if given.strip().lower() not in {"y", "yes"}:
        raise DeclinedError("Nothing was made.")
