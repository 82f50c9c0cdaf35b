"""Which version may take the place of the one that is held. Decides, and calls nothing.

Secrets Manager's reads are eventually consistent: one may still name the version before. But an operator may also have
moved AWSCURRENT back, and the two look the same. So a change to an older version is doubted, and believed when a check
half a minute later says the same.
"""

from __future__ import annotations

from datetime import datetime, timedelta

CONFIRM_AFTER = timedelta(seconds=30)


class Succession:
    """Remembers which versions are older than the one that is held, and which of them is named again since when."""

    def __init__(self) -> None:
        self._older: set[str] = set()
        self._named: str | None = None
        self._since: datetime | None = None

    def is_older(self, version_id: str) -> bool:
        """Whether that version is known to be older than the one that is held."""
        return version_id in self._older

    def note_older(self, version_id: str) -> None:
        """It turned out to be older than the one that is held."""
        self._older.add(version_id)

    def take_over(self, version_id: str, former: str | None) -> None:
        """It is held from now on, in the place of the former."""
        self._older.discard(version_id)
        if former is not None:
            self._older.add(former)
        self.settle()

    def doubt(self, version_id: str, now: datetime) -> datetime | None:
        """An older version was named as the current one: until when to doubt it; None if it is to be believed."""
        if self._named != version_id or self._since is None:
            self._named, self._since = version_id, now
        believed = self._since + CONFIRM_AFTER
        return believed if now < believed else None

    def settle(self) -> None:
        """The version that is held was named: nothing is in doubt."""
        self._named = self._since = None
