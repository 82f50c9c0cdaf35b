"""How often to ask API Gateway once it has refused to answer. Pure.

API Gateway takes ten calls a second of an account. The sync's update is one of them, for which all steps that ask are
waiting: so a step that was refused asks less often from then on.
"""

from __future__ import annotations

from zlib import crc32

# Seconds between two questions once the first was refused; doubled at each refusal, up to the second.
MIN_BACKOFF, MAX_BACKOFF = 10.0, 160.0


def backoff(before: float) -> float:
    """Seconds to leave between two questions, once more refused where they were `before`; 0 for the first time."""
    return min(max(2 * before, MIN_BACKOFF), MAX_BACKOFF)


def jittered(seconds: float, chance: float) -> float:
    """The back-off of one step: from half of `seconds` to one and a half, by a `chance` from 0 to 1."""
    return seconds * (0.5 + chance)


def jitter(version_id: str) -> float:
    """A number from 0 to 1, of each version another: those that rotate at once do not all ask at once."""
    return crc32(version_id.encode()) / 2**32
