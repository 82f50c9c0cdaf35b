"""What a probe is: a question to AWS, how it is asked, and what the local AWS answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene


class Needs(StrEnum):
    """What has to be there."""

    NOTHING = "nothing"
    GATEWAY = "gateway"
    """A stack with a gateway: it is asked after the gateway's scenario, one probe after the other."""


class UndecidedError(Exception):
    """What was seen tells neither way; the message says why."""


@dataclass(frozen=True)
class Answer:
    """What AWS did.

    Attributes:
        reading: one of the probe's readings.
        detail: what was seen, in words.
    """

    reading: str
    detail: str = ""


@dataclass(frozen=True)
class Probe:
    """One question.

    Attributes:
        name: by which it is told apart, in words joined by hyphens.
        question: what is asked, in a sentence.
        source: the page that leaves it open, or that answers it.
        how: how it is tried, in a sentence.
        readings: what AWS may do → in words.
        expected: the reading that the local AWS has by default.
        ask: asks. Whatever it makes is written into the run's ledger first.
        certain: whether AWS documents the expected reading. Then another fails the run; else it is told.
        promise: whether the promise depends on it where the project were built for one reading only.
        setting: the setting of the local AWS that has it do otherwise; empty if there is none.
    """

    name: str
    question: str
    source: str
    how: str
    readings: Mapping[str, str]
    expected: str
    ask: Callable[[Run, Scene], Answer]
    certain: bool = False
    promise: bool = False
    needs: Needs = Needs.NOTHING
    setting: str = ""

    def __post_init__(self) -> None:
        if self.expected not in self.readings:
            raise ValueError(f"{self.name}: {self.expected!r} is none of its readings")
