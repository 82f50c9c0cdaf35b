"""`mtlsctl truststore show`: whom each domain trusts now, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, override

import typer

from mtls_rotation.timing import utc_now
from mtlsctl.commands.truststore.lines import (
    AnchorLine,
    anchor_lines,
    anchors_table,
    short,
)
from mtlsctl.errors import InvalidInputError
from mtlsctl.exit_status import ExitStatus
from mtlsctl.findings.distrust import DistrustLine, distrust_lines, distrusted_text
from mtlsctl.frame.command import CommandContext
from mtlsctl.report import Finding, Model, Report, Severity, worst
from mtlsctl.show import line, shown
from mtlsctl.stack.targets import targets_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from rich.console import RenderableType

    from mtls_rotation.truststore.sync import Preview
    from mtlsctl.stack.targets import Target


class DomainAnchors(Model):
    """A custom domain name, and the truststore that it runs.

    Attributes:
        state: API Gateway's word, such as AVAILABLE; empty where there is no such domain.
        message: what API Gateway says of the state; empty if nothing.
        truststore_version: the object version that it runs; null if it names none.
        anchors: null where that version cannot be had.
        warnings: what API Gateway says is wrong with it.
    """

    name: str
    state: str
    message: str
    truststore_version: str | None
    anchors: list[AnchorLine] | None
    warnings: list[str]


class ShowReport(Report):
    """Whom each domain of the stack trusts now. A stack without a gateway has no domain.

    Attributes:
        distrusted: what operators have taken out, whatever holds it.
    """

    domains: list[DomainAnchors]
    distrusted: list[DistrustLine]
    findings: list[Finding]

    @property
    @override
    def exit_status(self) -> ExitStatus:
        return worst(self.findings)

    @override
    def render(self) -> Iterable[RenderableType]:
        for it in self.domains:
            yield line((f"{it.name} {it.state}: {short(it.truststore_version)}", "bold"))
            if it.anchors is not None:
                yield anchors_table(it.anchors)
        yield from distrusted_text(self.distrusted)
        yield from shown(self.findings, "API Gateway warns of nothing." if self.domains else "There is no gateway.")


def show(
    context: CommandContext,
    domain: Annotated[
        str | None, typer.Option(metavar="NAME", help="One of the stack's domain names. Default: all.")
    ] = None,
) -> ShowReport:
    """Show the certificates that each domain trusts now, and why each is there.

    It is read from the very object version that the domain runs.

    Exit status: 0 all well, 1 something needs attention, 2 it could not be told.
    """
    with context.doing("looking"):
        targets = chosen(targets_of(context.deployment), domain)
        return judge(targets, context.deployment.assembly.sync.preview(), utc_now())


def chosen(targets: Sequence[Target], name: str | None) -> list[Target]:
    """Those that were asked for.

    Raises:
        InvalidInputError: it is none of the stack's.
    """
    found = [it for it in targets if name in {None, it.name}]
    if name is not None and not found:
        raise InvalidInputError(
            where="--domain",
            found=repr(name),
            expected=f"one of {', '.join(it.name for it in targets)}" if targets else "a stack with a gateway",
            remedy="Leave it out to see all of them.",
        )
    return found


def judge(targets: Iterable[Target], preview: Preview, now: datetime) -> ShowReport:
    """Make the report of what was seen. Pure."""
    targets, plan = list(targets), preview.plan
    return ShowReport(
        domains=[
            DomainAnchors(
                name=it.name,
                state=it.state,
                message=it.message,
                truststore_version=it.version_id,
                anchors=None if it.anchors is None else anchor_lines(it.anchors, plan, now),
                warnings=list(it.warnings),
            )
            for it in targets
        ],
        distrusted=distrust_lines(preview),
        findings=[finding for it in targets for finding in _about(it, now)],
    )


def _about(target: Target, now: datetime) -> Iterator[Finding]:
    def finding(what: str, remedy: str, severity: Severity = Severity.ATTENTION, runbook: str = "") -> Finding:
        return Finding(severity=severity, subject=target.name, what=what, remedy=remedy, runbook=runbook)

    if target.stuck:
        what = f"it is {target.condition}, and may run the truststore before"
        yield finding(what, "Mend what it names; it is told again by itself.", runbook="MTLS-304")
    if not target.exists:
        yield finding(target.problem, "mtlsctl status  # names what mends it", runbook="MTLS-303")
    elif target.anchors is None:
        yield finding(
            target.problem, "mtlsctl truststore sync --wait", Severity.UNKNOWN, "The truststore does not follow"
        )
    for warning in target.warnings:
        yield finding(f"API Gateway warns: {warning}", "mtlsctl truststore plan")
    for key, certificate in sorted((target.anchors or {}).items()):
        if certificate.not_valid_after_utc < now:
            yield finding(f"the anchor {key[:8]}… has expired", "mtlsctl truststore sync --wait")
