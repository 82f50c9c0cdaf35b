"""`mtlsctl rotate`: rotate a secret now, and follow it through its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, override

import typer
from rich.text import Text

from mtls_rotation.contract.layout import SIGNED
from mtls_rotation.errors import InvalidSecretError
from mtlsctl.commands.rotate_all import ReplacementReport, rotate_all
from mtlsctl.errors import InvalidInputError
from mtlsctl.exit_status import ExitStatus
from mtlsctl.following.log import Line, Result
from mtlsctl.following.rotation import STYLES, Follower, Outcome, Sight, Started, results, start
from mtlsctl.frame.command import CommandContext
from mtlsctl.frame.completion import OptionalSecretArgument, secret_names
from mtlsctl.report import Model, Report
from mtlsctl.show import Column, FittingTable, line
from mtlsctl.stack.versions import way_out

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

DEFAULT_TIMEOUT = 900.0

Wait = Annotated[bool, typer.Option("--wait", help="Follow the rotation until it has ended.")]
Timeout = Annotated[float, typer.Option(min=0.0, metavar="SECONDS", help="How long --wait waits at most.")]


class StepReport(Model):
    """One step.

    Attributes:
        seconds: how long the step itself took; null while it is not known.
    """

    step: str
    result: Result
    seconds: float | None


class Failure(Model):
    """Why a step failed.

    Attributes:
        code: as docs/operations.md lists it; AWS's own where AWS refused a call.
        retryable: whether Secrets Manager's next try may go well with nobody having changed anything.
    """

    step: str
    code: str
    message: str
    remedy: str
    retryable: bool


class RotationReport(Report):
    """A rotation.

    Attributes:
        version_id: the version that it makes, which is its token.
        taken_up: whether it was under way before.
        steps: empty if nobody waited.
        request_uri: what somebody else is to sign; null if nothing is waited for.
        answer_uri: under which prefix their answer is to be uploaded; likewise.
        log_unreadable: why the function's log could not be read; empty if it could.
    """

    secret: str
    arn: str
    version_id: str
    taken_up: bool
    outcome: Outcome
    steps: list[StepReport]
    failure: Failure | None = None
    request_uri: str | None = None
    answer_uri: str | None = None
    log_unreadable: str = ""

    @property
    @override
    def exit_status(self) -> ExitStatus:
        return ExitStatus.OK if self.outcome in {Outcome.STARTED, Outcome.DONE} else ExitStatus.ATTENTION

    @override
    def render(self) -> Iterable[RenderableType]:
        how = "was under way and is taken up again" if self.taken_up else "has begun"
        yield line((f"The rotation of {self.secret} to version {self.version_id} {how}.", ""))
        if self.steps:
            yield self._table()
        if self.log_unreadable:
            yield Text(
                f"? The function's log cannot be read ({self.log_unreadable}); the labels tell the end.", "yellow"
            )
        yield from self._end()

    def _table(self) -> FittingTable:
        table = FittingTable(Column("step"), Column("result"), Column("seconds"))
        for it in self.steps:
            seconds = "-" if it.seconds is None else f"{it.seconds:.2f}"
            table.add_row(it.step, Text(it.result, style=STYLES.get(it.result, "dim")), seconds)
        return table

    def _end(self) -> Iterable[RenderableType]:
        match self.outcome:
            case Outcome.STARTED:
                yield line((f"Follow it with: mtlsctl rotate {self.secret} --wait", ""))
            case Outcome.DONE:
                yield line(("✓ The new certificate is in use.", "bold green"))
            case Outcome.UNSIGNED:
                yield line(("✗ It waits for a certificate that somebody else signs (MTLS-207).", "bold red"))
                yield line(("  the request: ", "dim"), (self.request_uri or "under requested/", ""))
                yield line(("  the answer goes to: ", "dim"), (self.answer_uri or "", ""))
                yield line(("  or: ", "dim"), (f"mtlsctl import signed FILE --secret {self.secret} --wait", ""))
            case Outcome.CANCELLED:
                yield line(("✗ It was cancelled: AWSPENDING is gone from its version.", "bold red"))
                yield line(("  → ", "dim"), (f"mtlsctl rotate {self.secret} --wait", ""))
            case Outcome.FAILED if self.failure:
                yield line((f"✗ {self.failure.step} failed: ", "bold red"), (self.failure.message, ""))
                if self.failure.remedy not in self.failure.message:
                    yield line(("  → ", "dim"), (self.failure.remedy, ""))
                yield line(("  → ", "dim"), (f"mtlsctl explain {self.failure.code}", ""))
                if self.failure.code != InvalidSecretError.code:
                    yield line(("What was in use before still is.", ""))


def rotate(
    context: CommandContext,
    secret: OptionalSecretArgument = None,
    wait: Wait = False,
    timeout: Timeout = DEFAULT_TIMEOUT,
    everything: Annotated[
        bool, typer.Option("--all", help="With --ca: that CA, and then all that hangs on it.", show_default=False)
    ] = False,
    ca: Annotated[
        str | None,
        typer.Option("--ca", metavar="SECRET", help="The CA secret whose key was stolen.", autocompletion=secret_names),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --all: ask nothing, unless a secret is shut out.", show_default=False)
    ] = False,
) -> RotationReport | ReplacementReport:
    """Rotate a secret now. A rotation that is under way already is taken up again.

    With --all --ca NAME, for a CA whose key was stolen: rotates that CA, then all that hangs on it, and then distrusts
    what the CA was. It asks before, and again if a secret would be shut out, which --yes does not answer.

    Exit status: 0 it has begun, or with --wait or --all has ended well; 1 it failed, or waits for a signature, or the
    former CA is trusted still; 2 it could not be started, or had not ended in time.
    """
    if everything or ca is not None:
        if secret is not None or ca is None or not everything:
            raise InvalidInputError(
                where="mtlsctl rotate",
                found=" and ".join(
                    name for name, value in {"SECRET": secret, "--all": everything, "--ca": ca}.items() if value
                ),
                expected="SECRET, or --all and --ca NAME together",
                remedy="Nothing was changed. Name one secret, or a CA with all that hangs on it.",
            )
        return rotate_all(context, ca, timeout=timeout, yes=yes)
    if secret is None:
        raise InvalidInputError(
            where="mtlsctl rotate",
            found="no secret",
            expected="SECRET, or --all and --ca NAME together",
            remedy="Nothing was changed. `mtlsctl status` lists the secrets.",
        )
    with context.doing("starting"):
        description = context.deployment.secret(secret)
        started = start(context.deployment, description)
    report = followed(context, started, wait=wait, timeout=timeout)
    if started.taken_up and report.outcome is Outcome.CANCELLED:
        # It was the trial that Secrets Manager makes when rotation is switched on; or an operator cancelled it.
        report = followed(context, start(context.deployment, description), wait=wait, timeout=timeout)
    return report


def followed(
    context: CommandContext, started: Started, *, wait: bool, timeout: float, until_signed: bool = False
) -> RotationReport:
    """The report of a rotation that has begun; of its end, if that is to be waited for.

    Raises:
        StillUnderWayError: it had not ended in time.
    """
    if not wait:
        return _report(started, Sight(), Outcome.STARTED, context)
    return _report(started, *Follower(context).follow(started, timeout, until_signed=until_signed), context)


def _report(started: Started, sight: Sight, end: Outcome, context: CommandContext) -> RotationReport:
    steps = (
        []
        if end is Outcome.STARTED
        else [
            StepReport(step=step, result=result, seconds=sight.lines[step].seconds if step in sight.lines else None)
            for step, result in results(sight, end).items()
        ]
    )
    bucket = f"s3://{context.deployment.outputs['BucketName']}"
    unsigned = end is Outcome.UNSIGNED
    key = sight.ended.request_key if sight.ended else None
    return RotationReport(
        secret=started.name,
        arn=started.arn,
        version_id=started.version_id,
        taken_up=started.taken_up,
        outcome=end,
        steps=steps,
        failure=_failure(sight.ended, started, context) if sight.ended and end is Outcome.FAILED else None,
        request_uri=f"{bucket}/{key}" if unsigned and key else None,
        answer_uri=f"{bucket}/{SIGNED}" if unsigned else None,
        log_unreadable=sight.log_unreadable,
    )


def _failure(line: Line, started: Started, context: CommandContext) -> Failure:
    remedy = line.remedy
    if line.code == InvalidSecretError.code:
        remedy = way_out(started.name, started.version_id, line.reason, context.deployment.services) or remedy
    return Failure(step=line.step, code=line.code, message=line.reason, remedy=remedy, retryable=line.retryable)
