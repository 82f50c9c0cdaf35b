"""`mtlsctl doctor`: looks for everything that is known to go wrong, and says the fix."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, override

from rich.text import Text

from mtlsctl.exit_status import ExitStatus
from mtlsctl.findings import (
    DoctorCheck,
    DoctorContext,
    edges,
    gateway,
    gateway_edges,
    operation,
    secrets,
    standstill,
    truststore,
)
from mtlsctl.findings.looking import looked
from mtlsctl.frame.command import CommandContext
from mtlsctl.report import Finding, Model, PastFinding, Report, worst
from mtlsctl.show import past, shown

if TYPE_CHECKING:
    from rich.console import RenderableType

CHECKS: tuple[DoctorCheck, ...] = (
    *operation.CHECKS,
    *secrets.CHECKS,
    *truststore.CHECKS,
    *edges.CHECKS,
    *gateway_edges.CHECKS,
    *gateway.CHECKS,
    standstill.LETS_IN,
)

_MARKS = {
    ExitStatus.OK: Text("✓", style="green"),
    ExitStatus.ATTENTION: Text("✗", style="bold red"),
    ExitStatus.UNKNOWN: Text("?", style="yellow"),
}


class Answer(Model):
    """What one question came to. `question` says what is so where there are no findings.

    Attributes:
        past: what was wrong in the last day, and has gone well since. It is no finding.
    """

    question: str
    findings: list[Finding]
    past: list[PastFinding]


class DoctorReport(Report):
    """What was looked at, and what is wrong."""

    stack: str
    answers: list[Answer]

    @property
    def findings(self) -> list[Finding]:
        """All findings."""
        return [finding for answer in self.answers for finding in answer.findings]

    @property
    @override
    def exit_status(self) -> ExitStatus:
        return worst(self.findings)

    @override
    def render(self) -> Iterable[RenderableType]:
        for answer in self.answers:
            yield Text.assemble(" ", _MARKS[worst(answer.findings)], "  ", answer.question)
        yield from shown(self.findings, "Nothing that is known to go wrong has gone wrong.")
        yield from past(it for answer in self.answers for it in answer.past)


def doctor(context: CommandContext) -> DoctorReport:
    """Look for everything that is known to go wrong with a deployed stack, and say what to do.

    Exit status: 0 nothing found, 1 something needs attention, 2 something could not be looked at.
    """
    _ = context.deployment.outputs  # without a stack there is nothing to ask about
    shared = DoctorContext(context.deployment)
    answers = []
    for check in CHECKS:
        with context.doing(check.name):
            answers.append(asked(check, shared))
    return DoctorReport(stack=context.deployment.name, answers=answers)


def asked(check: DoctorCheck, context: DoctorContext) -> Answer:
    """What a check finds."""
    findings, over = looked(check, context)
    return Answer(question=check.name, findings=findings, past=over)


def run(check: DoctorCheck, context: DoctorContext) -> list[Finding]:
    """A check's findings."""
    return asked(check, context).findings
