"""The virtual clock that rotation schedules run on. Everything else, retries included, goes by real time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class VirtualClock:
    """Real time plus an offset that only grows."""

    def __init__(self) -> None:
        self._offset = timedelta(0)

    def now(self) -> datetime:
        """Return the virtual time, aware, in UTC."""
        return datetime.now(UTC) + self._offset

    def advance(self, by: timedelta) -> datetime:
        """Move the clock forward and return the new time."""
        if by < timedelta(0):
            raise ValueError(f"the clock only goes forward; asked for {by}")
        self._offset += by
        return self.now()
