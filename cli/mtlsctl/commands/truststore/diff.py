"""`mtlsctl truststore diff`: what each domain runs, against what is published, against what a sync would publish."""

from __future__ import annotations

from typing import TYPE_CHECKING, override

from pydantic import Field
from rich.text import Text

from mtls_rotation.timing import utc_now
from mtlsctl.commands.truststore.lines import AnchorLine, anchor_lines, changed_lines, edited_line, short
from mtlsctl.exit_status import ExitStatus
from mtlsctl.frame.command import CommandContext
from mtlsctl.report import Model, Report
from mtlsctl.show import line
from mtlsctl.stack.targets import published_version, targets_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from cryptography import x509
    from rich.console import RenderableType

    from mtls_rotation.truststore.plan import Plan
    from mtls_rotation.truststore.sync import Preview
    from mtlsctl.stack.targets import Target


class Difference(Model):
    """One truststore against another.

    Attributes:
        name: the domain's, or "published".
        version: the object version; null if there is none.
        against: "published", or "planned": what a sync would publish now.
        against_version: null for what is only planned, and for what has not been published.
        added: what is in the other alone.
        removed: what is in this one alone.
        unknown: why it cannot be told; empty if it can.
        edited: whether what is published is not what the sync wrote last.
    """

    name: str
    version: str | None
    against: str
    against_version: str | None
    added: list[AnchorLine]
    removed: list[AnchorLine]
    unknown: str = ""
    edited: bool = False
    # Whether it is that very version, where the other has one. Not in the JSON, where both versions stand.
    up_to_date: bool = Field(default=True, exclude=True)

    @property
    def differs(self) -> bool:
        """Whether the two are not the same. A domain may run another version with the same certificates."""
        return bool(self.added or self.removed or self.edited) or not (self.up_to_date or self.unknown)

    def render(self) -> Iterable[RenderableType]:
        """What a person is shown."""
        other = short(self.against_version) if self.against == "published" else "what a sync would publish"
        yield line((f"{self.name}, {short(self.version)} → {self.against}, {other}", "bold"))
        if self.unknown:
            yield Text(f"? {self.unknown}", style="yellow")
        elif self.edited:
            yield edited_line(self.version)
        elif not self.differs:
            yield Text("  the same", style="dim")
        elif not (self.added or self.removed):
            yield Text("  the same certificates in another version", style="yellow")
        yield from changed_lines(self.added, self.removed)


class DiffReport(Report):
    """Every domain against what is published, and that against what a sync would publish."""

    differences: list[Difference]

    @property
    @override
    def exit_status(self) -> ExitStatus:
        if any(it.differs for it in self.differences):
            return ExitStatus.ATTENTION
        return ExitStatus.UNKNOWN if any(it.unknown for it in self.differences) else ExitStatus.OK

    @override
    def render(self) -> Iterable[RenderableType]:
        for it in self.differences:
            yield from it.render()


def diff(context: CommandContext) -> DiffReport:
    """Show how what runs, what is published and what should be differ.

    Exit status: 0 all the same, 1 something differs, 2 it could not be told.
    """
    with context.doing("looking"):
        preview = context.deployment.assembly.sync.preview()
        return judge(targets_of(context.deployment), preview, utc_now())


def judge(targets: Iterable[Target], preview: Preview, now: datetime) -> DiffReport:
    """Make the report of what was seen. Pure."""
    plan, published = preview.plan, published_version(preview)
    planned = {key: it.certificate for key, it in plan.anchors.items()}
    return DiffReport(
        differences=[
            *(_running(it, preview, now) for it in targets),
            Difference(
                name="published",
                version=published,
                against="planned",
                against_version=None,
                edited=not preview.seen.ours,
                **_changes(preview.deployed, planned, plan, now),
            ),
        ]
    )


def _running(target: Target, preview: Preview, now: datetime) -> Difference:
    known, published = target.anchors is not None, published_version(preview)
    changes = _changes(target.anchors or {}, preview.deployed, preview.plan, now) if known else _NONE
    return Difference(
        name=target.name,
        version=target.version_id,
        against="published",
        against_version=published,
        up_to_date=published is None or target.runs(preview),
        unknown="" if known else target.problem,
        **changes,
    )


def _changes(
    before: Mapping[str, x509.Certificate], after: Mapping[str, x509.Certificate], plan: Plan, now: datetime
) -> dict[str, list[AnchorLine]]:
    return {
        "added": anchor_lines({key: it for key, it in after.items() if key not in before}, plan, now),
        "removed": anchor_lines({key: it for key, it in before.items() if key not in after}, plan, now),
    }


_NONE: dict[str, list[AnchorLine]] = {"added": [], "removed": []}
