"""Time as a step of a Lambda function has it: now, and how long is left."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime


def utc_now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


def to_compact(moment: datetime) -> str:
    """A moment in UTC, to the second, as labels and keys of objects may hold it: 20261225T101112Z."""
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def from_compact(text: str) -> datetime | None:
    """The moment that `to_compact` wrote; None if the text is none of its.

    The earliest is 1950, where the times of certificates begin (RFC 5280, 4.1.2.5).
    """
    if len(text) != len("20261225T101112Z") or text[8] != "T" or text[-1] != "Z" or text < "1950":
        return None
    if not (text.isascii() and text[:8].isdecimal() and text[9:15].isdecimal()):
        return None  # of the other forms that ISO 8601 has for a moment, none is ours
    try:
        return datetime.fromisoformat(text)  # many times quicker than strptime: a sync reads one for each certificate
    except ValueError:
        return None


def from_rfc3339(text: str) -> datetime:
    """A moment that we wrote, in UTC.

    Raises:
        ValueError: it has no time zone, or is none that can be written again.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or moment.year < 1970:
        raise ValueError("no moment of these times with a time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a moment beyond all times") from None


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment by which a step must have ended, on the monotonic clock.

    `sleep` is a field so that a test can make waiting instantaneous.
    """

    at: float
    sleep: Callable[[float], None] = field(default=time.sleep, compare=False)
    monotonic: Callable[[], float] = field(default=time.monotonic, compare=False)

    @classmethod
    def within(cls, seconds: float) -> "Deadline":
        """The deadline that lies `seconds` ahead."""
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - self.monotonic())

    def sooner(self, seconds: float) -> "Deadline":
        """This deadline or `seconds` from now, whichever comes first."""
        return Deadline(min(self.at, self.monotonic() + seconds), self.sleep, self.monotonic)

    def attempts(self, first: float = 0.2, longest: float = 5.0) -> Iterator[int]:
        """Count tries: one at once, then one after each pause, while time is left.

        A pause starts at `first` seconds and doubles up to `longest`. There is always at least one try.
        """
        count, pause = 0, first
        while True:
            yield count
            if self.remaining() <= pause:
                return
            self.sleep(pause)
            count, pause = count + 1, min(pause * 2, longest)


# No time to wait for anything: what is to be tried is tried once.
NO_TIME = Deadline(0.0)


def to_rfc3339(moment: datetime) -> str:
    """A moment as RFC 3339 in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
