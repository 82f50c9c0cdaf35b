"""`mtlsctl doctor`: looks for everything that is known to go wrong, and says the fix."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, override

import typer
from rich.text import Text

from mtlsctl.exit_status import ExitStatus
from mtlsctl.findings import (
    DoctorCheck,
    DoctorContext,
    edges,
    gateway,
    gateway_edges,
    operation,
    probing,
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

# The questions whose answers say which edges are cut.
EDGES = {"every function is ready", *(it.name for it in (*edges.CHECKS, *gateway_edges.CHECKS))}
# What marked events take beside the checks.
SENDING = ("events:PutEvents", "s3:PutObject", "apigateway:POST")
THROUGH = "a marked event comes through each path"
AUTHORIZER = "API Gateway reaches the authorizer"
WITHOUT = "Or look with --read-only, which sends none."

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
    """What was looked at, and what is wrong.

    Attributes:
        marked_events: whether any were sent, so that it is known that they come through.
    """

    stack: str
    answers: list[Answer]
    marked_events: bool = True

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
        if not self.marked_events:
            yield Text("No marked event was sent: whether one comes through is not known.", style="dim")
        yield from shown(self.findings, "Nothing that is known to go wrong has gone wrong.")
        yield from past(it for answer in self.answers for it in answer.past)


def doctor(
    context: CommandContext,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Send no marked events: look only.", show_default=False)
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="How long a marked event may take.")
    ] = probing.SECONDS,
) -> DoctorReport:
    """Look for everything that is known to go wrong with a deployed stack, and say what to do.

    It sends marked events through the bus, the bucket and the authorizer, which the functions answer in their logs and
    which change nothing; with --read-only it sends none.

    Exit status: 0 nothing found, 1 something needs attention, 2 something could not be looked at.
    """
    _ = context.deployment.outputs  # without a stack there is nothing to ask about
    shared, answers = DoctorContext(context.deployment), []
    for check in CHECKS:
        with context.doing(check.name):
            answers.append(asked(check, shared))
    if not read_only:
        with context.doing(THROUGH):
            known = [finding for answer in answers if answer.question in EDGES for finding in answer.findings]
            answers += marked_events(shared, known, timeout)
    return DoctorReport(stack=context.deployment.name, answers=answers, marked_events=not read_only)


def _sends(send: Callable[[], None]) -> Callable[[DoctorContext], Iterable[Finding]]:
    """Sending as a check, which finds nothing if it may."""

    def find(_: DoctorContext) -> Iterable[Finding]:
        send()
        return ()

    return find


def marked_events(context: DoctorContext, known: list[Finding], seconds: float) -> list[Answer]:
    """What came of marked events: those that may not be sent are told, and all others awaited."""
    probes = probing.Probing(context, known)
    checks = [
        DoctorCheck(THROUGH, ("events:PutEvents",), _sends(probes.put_events), WITHOUT),
        DoctorCheck(THROUGH, ("s3:PutObject",), _sends(probes.put_objects), WITHOUT),
        DoctorCheck(
            THROUGH, ("logs:FilterLogEvents", "sqs:GetQueueAttributes"), lambda _: probes.findings(seconds), WITHOUT
        ),
    ]
    authorizer = DoctorCheck(
        AUTHORIZER,
        ("apigateway:GET", "apigateway:POST"),
        lambda it: probing.authorizer_answers(it, known),
        WITHOUT,
    )
    through = [finding for check in checks for finding in run(check, context)]
    return [Answer(question=THROUGH, findings=through, past=[]), asked(authorizer, context)]


def asked(check: DoctorCheck, context: DoctorContext) -> Answer:
    """What a check finds."""
    findings, over = looked(check, context)
    return Answer(question=check.name, findings=findings, past=over)


def run(check: DoctorCheck, context: DoctorContext) -> list[Finding]:
    """A check's findings."""
    return asked(check, context).findings
