"""What every command answers with: a report, which is a table on a terminal, JSON for a program, and an exit status."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, computed_field, field_validator

from mtlsctl.exit_status import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType


class Severity(StrEnum):
    """How bad a finding is: something is wrong, or it could not be told whether something is."""

    ATTENTION = "attention"
    UNKNOWN = "unknown"


class Model(BaseModel):
    """A part of a report. Times are RFC 3339 in UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*")
    @classmethod
    def _in_utc[T](cls, value: T) -> T | datetime:
        """Moments from AWS come in the zone of this machine."""
        return value.astimezone(UTC) if isinstance(value, datetime) else value


class Finding(Model):
    """Something that an operator should know.

    Attributes:
        subject: what it is about: a secret, an anchor, a domain, a part of the stack.
        what: what is wrong, or what could not be told.
        remedy: what to do about it.
        runbook: the code or the heading to look up in docs/operations.md; empty where there is none.
    """

    severity: Severity
    subject: str
    what: str
    remedy: str
    runbook: str = ""


class PastFinding(Model):
    """Something that was wrong, and has gone well since. It asks for nothing, and counts for nothing.

    Attributes:
        subject: what it is about, as in `Finding`.
        what: what was wrong.
        at: when that was so last.
        mended: what has gone well since.
        mended_at: when that was.
    """

    subject: str
    what: str
    at: datetime
    mended: str
    mended_at: datetime


class Report(Model, ABC):
    """What a command found or did."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def status(self) -> str:
        """In a word: "well", "attention" or "unknown", as the exit status says in a number (0, 1, 2)."""
        return self.exit_status.word

    @property
    @abstractmethod
    def exit_status(self) -> ExitStatus:
        """What the command ends with."""

    @abstractmethod
    def render(self) -> Iterable[RenderableType]:
        """What a person is shown, one thing under the other."""


def worst(findings: Iterable[Finding]) -> ExitStatus:
    """The exit status of some findings. What is known to be wrong counts for more than what could not be told."""
    severities = {finding.severity for finding in findings}
    if Severity.ATTENTION in severities:
        return ExitStatus.ATTENTION
    return ExitStatus.UNKNOWN if severities else ExitStatus.OK
