"""`mtlsctl doctor`: looks for everything that is known to go wrong, and says the fix."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, override

from botocore.exceptions import BotoCoreError, ClientError
from rich.table import Table
from rich.text import Text

from mtls_rotation.errors import MtlsRotationError
from mtlsctl.errors import DENIALS
from mtlsctl.findings import Patient, Question, operation, secrets, truststore, unknown
from mtlsctl.frame.command import Desk
from mtlsctl.report import ExitStatus, Finding, Model, Report, worst
from mtlsctl.show import shown

if TYPE_CHECKING:
    from rich.console import RenderableType

QUESTIONS: tuple[Question, ...] = (*operation.QUESTIONS, *secrets.QUESTIONS, *truststore.QUESTIONS)

_MARKS = {
    ExitStatus.WELL: Text("✓", style="green"),
    ExitStatus.ATTENTION: Text("✗", style="bold red"),
    ExitStatus.UNKNOWN: Text("?", style="yellow"),
}


class Answer(Model):
    """What one question came to. `question` says what is so where there are no findings."""

    question: str
    findings: list[Finding]


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
        table = Table(box=None, show_header=False, padding=(0, 1))
        for answer in self.answers:
            table.add_row(_MARKS[worst(answer.findings)], answer.question)
        yield table
        yield from shown(self.findings, "Nothing that is known to go wrong has gone wrong.")


def doctor(desk: Desk) -> DoctorReport:
    """Look for everything that is known to go wrong with a deployed stack, and say what to do.

    Exit status: 0 nothing found, 1 something needs attention, 2 something could not be looked at.
    """
    _ = desk.deployment.outputs  # without a stack there is nothing to ask about
    patient = Patient(desk.deployment)
    answers = []
    for question in QUESTIONS:
        with desk.doing(question.name):
            answers.append(Answer(question=question.name, findings=ask(question, patient)))
    return DoctorReport(stack=desk.deployment.name, answers=answers)


def ask(question: Question, patient: Patient) -> list[Finding]:
    """A question's findings. What the credentials may not see could not be told."""
    try:
        return list(question.ask(patient))
    except ClientError as error:
        code = error.response["Error"].get("Code", "")
        if code in DENIALS:
            needs = f"It takes {', '.join(question.needs)}."
            return [unknown(question.name, f"these credentials may not call {error.operation_name}", needs)]
        what = f"{error.operation_name} was answered with {code}: {error.response['Error'].get('Message', '')}"
        return [unknown(question.name, what, "Try again.")]
    except BotoCoreError as error:  # one service may be out of reach where the others are not
        return [unknown(question.name, str(error), "Can this machine reach that service?")]
    except MtlsRotationError as error:
        return [unknown(question.name, f"{error.where}: found {error.found}", error.remedy)]
