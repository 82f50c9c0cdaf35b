"""`mtlsctl truststore plan`: what a sync would do now, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, override

import typer
from rich.text import Text

from mtls_rotation.contract import layout
from mtls_rotation.timing import utc_now
from mtlsctl.commands.truststore.lines import (
    AnchorLine,
    StopLine,
    anchor_lines,
    anchors_table,
    changed_lines,
    edited_line,
    short,
)
from mtlsctl.exit_status import ExitStatus
from mtlsctl.frame.command import CommandContext
from mtlsctl.report import Model, Report
from mtlsctl.show import Column, FittingTable, distinguished_name, line
from mtlsctl.stack.strays import strays
from mtlsctl.stack.targets import published_version, targets_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from rich.console import RenderableType

    from mtls_rotation.contract.places import Unread
    from mtls_rotation.truststore.sync import Preview
    from mtlsctl.stack.targets import Target


class LeftOutLine(Model):
    """A certificate that does not belong in the truststore.

    Attributes:
        key: the object that holds it, or would.
        position: which certificate of that object, counted from 1.
        fingerprint_sha256: empty where it is no certificate.
        rejected: whether somebody meant it to be trusted.
    """

    key: str
    position: int
    subject: str
    fingerprint_sha256: str
    reason: str
    rejected: bool


class PlanReport(Report):
    """What a sync would do now. Nothing was changed.

    Attributes:
        published_version: the truststore's newest object version; null if there is none.
        anchors: what the truststore should hold.
        added: those of them that it does not hold now.
        removed: what it holds now, and should not.
        left_out: what is not in it, or would go, each with the reason.
        updates: the domains that would be told to run another version.
        stop: the guard that would stop it; null if none would.
        edited: whether what is published is not what the sync wrote last.
    """

    published_version: str | None
    anchors: list[AnchorLine]
    added: list[AnchorLine]
    removed: list[AnchorLine]
    left_out: list[LeftOutLine]
    updates: list[str]
    stop: StopLine | None
    edited: bool

    @property
    @override
    def exit_status(self) -> ExitStatus:
        return ExitStatus.ATTENTION if self.stop or self.edited else ExitStatus.OK

    @override
    def render(self) -> Iterable[RenderableType]:
        yield anchors_table(self.anchors)
        if self.left_out:
            yield self._left_out_table()
        yield from changed_lines(self.added, self.removed)
        if self.stop:
            yield from self.stop.render()
        elif self.edited:
            yield edited_line(self.published_version)
        elif self.added or self.removed:
            yield Text(f"A sync would publish this in place of {short(self.published_version)}.", style="bold")
        else:
            yield Text(f"It is what is published, {short(self.published_version)}.", style="bold green")
        for name in self.updates if not self.stop else ():
            yield line((f"{name} would be told to run it.", "bold"))

    def _left_out_table(self) -> FittingTable:
        table = FittingTable(Column("left out"), Column("number"), Column("subject"), Column("reason", whole=False))
        for it in self.left_out:
            style = "bold red" if it.rejected else "dim"
            table.add_row(it.key, str(it.position), distinguished_name(it.subject), Text(it.reason, style=style))
        return table


def plan(
    context: CommandContext,
    force: Annotated[bool, typer.Option("--force", help="As a forced sync would do.", show_default=False)] = False,
) -> PlanReport:
    """Show what a sync would do now and why, what is left out, and which guard would stop it. It changes nothing.

    Exit status: 0 it would go through, 1 a guard would stop it, or the truststore was edited; 2 it could not be told.
    """
    with context.doing("looking"):
        preview = context.deployment.assembly.sync.preview(force=force)
        found, _ = strays(context.deployment)
        return judge(targets_of(context.deployment), preview, utc_now(), found)


def judge(targets: Iterable[Target], preview: Preview, now: datetime, strays: Iterable[Unread] = ()) -> PlanReport:
    """Make the report of what was seen. Pure.

    Args:
        targets: what runs the truststore.
        preview: what a sync would do.
        now: the moment.
        strays: what nobody reads. Under `anchors/` the sync tells of it by itself.
    """
    decided = preview.plan
    certificates = {key: it.certificate for key, it in decided.anchors.items()}
    changes = bool(decided.added or decided.removed) or not preview.seen.ours
    return PlanReport(
        published_version=published_version(preview),
        anchors=anchor_lines(certificates, decided, now),
        added=anchor_lines({key: certificates[key] for key in decided.added}, decided, now),
        removed=anchor_lines({key: preview.deployed[key] for key in decided.removed}, decided, now),
        left_out=[
            LeftOutLine(
                key=it.key,
                position=it.position,
                subject=it.subject,
                fingerprint_sha256=it.fingerprint,
                reason=it.reason,
                rejected=it.rejected,
            )
            for it in decided.left_out
        ]
        + [
            LeftOutLine(
                key=it.key,
                position=1,
                subject="unread",
                fingerprint_sha256="",
                reason=f"nobody reads it, as {it.why}; it would be trusted as {it.better_key}",
                rejected=True,
            )
            for it in strays
            if it.better_key.startswith(layout.STATIC_ANCHORS) and not it.key.startswith(layout.ANCHORS)
        ],
        updates=[it.name for it in targets if it.exists and (changes or not it.runs(preview))],
        stop=StopLine.of(preview.stop),
        edited=not preview.seen.ours,
    )
