"""`mtlsctl explain`: what the runbook says of a code, an alarm or a subject."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, override

import typer
from rich.markdown import Markdown

from mtlsctl import runbook
from mtlsctl.errors import InvalidInputError
from mtlsctl.exit_status import ExitStatus
from mtlsctl.frame.command import CommandContext
from mtlsctl.report import Model, Report

if TYPE_CHECKING:
    from rich.console import RenderableType


class Explanation(Model):
    """A section of the runbook, in Markdown."""

    heading: str
    text: str


class ExplainReport(Report):
    """What the runbook says."""

    topic: str
    sections: list[Explanation]

    @property
    @override
    def exit_status(self) -> ExitStatus:
        return ExitStatus.OK

    @override
    def render(self) -> Iterable[RenderableType]:
        for section in self.sections:
            yield Markdown(f"## {section.heading}\n\n{section.text}\n")


def explain(
    context: CommandContext,
    topic: Annotated[
        str,
        typer.Argument(help="A code such as MTLS-202, an alarm's name, or a word such as 'stuck'.", metavar="TOPIC"),
    ],
) -> ExplainReport:
    """Show what the runbook says of an error's code, an alarm or a subject. Asks no AWS."""
    del context
    everything = runbook.sections()
    found = runbook.about(topic, everything)
    if not found:
        nearest = " or ".join(f'`mtlsctl explain "{it}"`' for it in runbook.nearest(topic, everything))
        raise InvalidInputError(
            where="mtlsctl explain",
            found=f"nothing about {topic!r} in the runbook",
            expected="a code, an alarm's name or a word",
            remedy=f"Try {nearest}.",
        )
    return ExplainReport(topic=topic, sections=[Explanation(heading=it.heading, text=it.text) for it in found])
