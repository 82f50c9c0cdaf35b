"""`mtlsctl truststore sync`: asks for a reconcile, and waits until every domain runs what comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, override

import typer
from rich.text import Text

from mtls_rotation.contract.events import TRUSTSTORE_SYNC_REQUESTED
from mtls_rotation.timing import utc_now
from mtlsctl.commands.truststore.lines import AnchorLine, StopLine, changed_lines, short
from mtlsctl.commands.truststore.plan import judge as plan_of
from mtlsctl.exit_status import ExitStatus
from mtlsctl.frame.asking import confirm
from mtlsctl.frame.command import CommandContext
from mtlsctl.frame.waiting import await_end
from mtlsctl.report import Report
from mtlsctl.stack.targets import published_version, targets_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from mtls_rotation.truststore.sync import Preview
    from mtlsctl.commands.truststore.plan import PlanReport
    from mtlsctl.stack.targets import Target

# Some domains, each of which waits 30 seconds for the one before.
_TIMEOUT = 180.0


class SyncReport(Report):
    """What was asked for, and what came of it.

    Attributes:
        requested: whether a sync was asked for. It is not where a guard would stop it.
        forced: whether it was told to override the guard that may be.
        added: and `removed`: what it was to change, as seen beforehand.
        stop: the guard that stops it; null if none does.
        completed: whether every domain runs what is published; null if that was not waited for.
        published_version: the truststore's object version, afterwards if it was waited for.
    """

    requested: bool
    forced: bool
    added: list[AnchorLine]
    removed: list[AnchorLine]
    stop: StopLine | None
    completed: bool | None
    published_version: str | None

    @property
    @override
    def exit_status(self) -> ExitStatus:
        return ExitStatus.ATTENTION if self.stop else ExitStatus.OK

    @override
    def render(self) -> Iterable[RenderableType]:
        yield from changed_lines(self.added, self.removed)
        if self.stop:
            yield from self.stop.render()
            yield Text("What is deployed stays as it is.", style="bold")
        elif self.completed:
            yield Text(f"✓ Every domain runs what is published, {short(self.published_version)}.", style="bold green")
        else:
            yield Text("✓ Asked for. `mtlsctl truststore diff` shows how far it is.", style="bold green")


def sync(
    context: CommandContext,
    force: Annotated[
        bool, typer.Option("--force", help="Publish even what drops many anchors at once.", show_default=False)
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until every domain runs what is published.", show_default=False)
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="How long --wait waits at most.")
    ] = _TIMEOUT,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing.", show_default=False)] = False,
) -> SyncReport:
    """Have the truststore brought in line with what is live now, as any event would.

    A guard that would stop it is reported, and nothing is asked for then. --force overrides the one that may be, after
    it has shown what would be dropped.

    Exit status: 0 it was asked for (with --wait: done), 1 a guard stops it, 2 it could not be done or took too long.
    """
    with context.doing("looking"):
        seen = _look(context, force=force)
    if seen.stop is None:
        if force:
            _confirm(context, seen, yes=yes)
        detail = {"stack": context.deployment.name, **({"force": True} if force else {})}
        context.deployment.services.bus.put(TRUSTSTORE_SYNC_REQUESTED, detail)
    stop, version = seen.stop, seen.published_version
    if stop is None and wait:
        stop, version = _await(context, timeout, force=force)
    return SyncReport(
        requested=seen.stop is None,
        forced=force and seen.stop is None,
        added=seen.added,
        removed=seen.removed,
        stop=stop,
        completed=(stop is None) if wait and seen.stop is None else None,
        published_version=version,
    )


def _look(context: CommandContext, *, force: bool) -> PlanReport:
    preview = context.deployment.assembly.sync.preview(force=force)
    return plan_of(targets_of(context.deployment), preview, utc_now())


def _confirm(context: CommandContext, seen: PlanReport, *, yes: bool) -> None:
    for it in changed_lines(seen.added, seen.removed):
        context.progress.print(it, soft_wrap=True)
    lost = f"drops {len(seen.removed)} anchors" if seen.removed else "drops no anchor now"
    refused = "Clients whose certificates chain to what is dropped are refused then."
    confirm(context, f"A forced sync {lost}. {refused} Go on?", yes=yes)


def _await(context: CommandContext, seconds: float, *, force: bool) -> tuple[StopLine | None, str | None]:
    """Wait until every domain runs what should be. The guard that has stopped it, and the version that is published."""
    deployment, told, last = context.deployment, "", None

    def what_is_left() -> str:
        nonlocal told, last
        last = deployment.assembly.sync.preview(force=force)
        left = "" if last.stop else what_remains(last, targets_of(deployment))
        if left and left != told:
            context.tell(f"… {left}", "dim")
        told = left
        return left

    with context.doing("waiting"):
        await_end(
            context,
            what_is_left,
            seconds,
            where=f"truststore of stack {deployment.name}",
            expected="every domain to run what is published",
            remedy="`mtlsctl truststore diff` shows how far it is; if it stands still, see the log of truststore_sync.",
        )
    return (StopLine.of(last.stop), published_version(last)) if last else (None, None)


def what_remains(preview: Preview, targets: Sequence[Target]) -> str:
    """What a sync has still to do, in words; empty if nothing. Pure."""
    if changes := len(preview.plan.added) + len(preview.plan.removed):
        return f"{changes} changes are not published yet" if changes > 1 else "a change is not published yet"
    if not preview.seen.ours:
        return "what is published is not written anew yet"
    behind = [it.name for it in targets if it.exists and not it.runs(preview)]
    if behind and published_version(preview) is None:
        return "nothing is published yet"
    if behind:
        return f"{', '.join(behind)} does not run {short(published_version(preview))} yet"
    settling = [f"{it.name} is {it.condition}" for it in targets if it.exists and not it.settled]
    return ", ".join(settling)
