"""The time line: one zero for all that was timed, and the requests on it in a compact form."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from demo.traffic import Request

# When it was sent and how long it took in ms, then positions in `serials`, in `failures` (None: answered), in `lanes`.
type Mark = tuple[float, float, int, int | None, int]


@dataclass(frozen=True)
class Origin:
    """The zero of the time line, on the clock on the wall and on the monotonic one."""

    wall: datetime
    monotonic: float

    @classmethod
    def now(cls) -> Origin:
        """This instant."""
        return cls(datetime.now(UTC), time.monotonic())

    def milliseconds(self, moment: float | datetime | None = None) -> float:
        """How long after the zero something was: a time of either clock, or else now."""
        if isinstance(moment, datetime):
            seconds = (moment - self.wall).total_seconds()
        else:
            seconds = (time.monotonic() if moment is None else moment) - self.monotonic
        return round(seconds * 1000, 1)


@dataclass(frozen=True)
class Timeline:
    """Every request of the run.

    Attributes:
        started_at: the zero of every `..._ms` in the report.
        milliseconds: from there to the end of the last request.
        lanes: the applications, by the label whose certificate they hold.
        serials: the certificates that were presented, in the order of their first request.
        failures: each way in which a request failed, once.
        requests: in the order in which they were sent.
    """

    started_at: datetime
    milliseconds: float
    lanes: tuple[str, ...]
    serials: tuple[str, ...]
    failures: tuple[str, ...]
    requests: tuple[Mark, ...]

    @classmethod
    def of(cls, sent: Mapping[str, Sequence[Request]], origin: Origin) -> Timeline:
        """The time line of what each application sent."""
        lanes = tuple(sent)
        ordered = sorted(
            ((request, lane) for lane, name in enumerate(lanes) for request in sent[name]), key=lambda it: it[0].at
        )
        serials = tuple(dict.fromkeys(request.serial for request, _ in ordered))
        failures = tuple(dict.fromkeys(request.failure for request, _ in ordered if request.failure))
        marks: list[Mark] = [
            (
                origin.milliseconds(request.at),
                round(request.seconds * 1000, 1),
                serials.index(request.serial),
                failures.index(request.failure) if request.failure else None,
                lane,
            )
            for request, lane in ordered
        ]
        end = max((at + took for at, took, *_ in marks), default=0.0)
        return cls(origin.wall, round(end, 1), lanes, serials, failures, tuple(marks))

    def to_json(self) -> dict[str, Any]:
        """As `report.json` has it."""
        return self.__dict__ | {"started_at": self.started_at.isoformat()}
