"""What a command ends with."""

from enum import IntEnum


class ExitStatus(IntEnum):
    """What a command ends with."""

    OK = 0
    ATTENTION = 1
    UNKNOWN = 2

    @property
    def word(self) -> str:
        """What JSON says for it."""
        return "well" if self is ExitStatus.OK else self.name.lower()
