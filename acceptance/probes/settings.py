"""Which reading the local AWS has by default, where one of its settings decides."""

from __future__ import annotations

from collections.abc import Mapping

from localaws import Settings


def by_default(setting: str, readings: Mapping[str, str]) -> str:
    """The reading that belongs to a setting's default.

    Args:
        setting: a setting of the local AWS.
        readings: its value → the reading.
    """
    return readings[getattr(Settings(), setting)]
