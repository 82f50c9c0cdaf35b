"""A rotation from the outside: starts it, or takes up one that is under way, and follows it to its end."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from mtls_rotation.contract.labels import AWSCURRENT, AWSPENDING, SIGNING_REQUEST
from mtls_rotation.errors import NotYetVisibleError, RotationNotEnabledError
from mtls_rotation.rotation.request import Step
from mtls_rotation.timing import Deadline, utc_now
from mtlsctl.errors import InvalidInputError, StillUnderWayError
from mtlsctl.following import log
from mtlsctl.following.log import Line, Result
from mtlsctl.show import line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_logs import CloudWatchLogsClient
    from rich.console import RenderableType

    from mtls_rotation.aws.secret_versions import SecretDescription
    from mtlsctl.frame.command import CommandContext
    from mtlsctl.stack.deployment import Deployment

# A log line may come this much later than what it tells of; a label, this much later than the call that moved it.
LATE = 15.0
SETTLED = 3.0
# Lines that are older are passed over by their time alone, whatever this machine's clock says.
LATELY = timedelta(hours=1)
STYLES = {
    Result.DONE: "green",
    Result.FAILED: "bold red",
    Result.RUNNING: "cyan",
    Result.UNKNOWN: "yellow",
    Result.UNSIGNED: "bold yellow",
}


class Outcome(StrEnum):
    """What has become of a rotation.

    Attributes:
        STARTED: it was started, and nobody waited for it.
        UNSIGNED: somebody else has yet to sign.
        CANCELLED: its version lost AWSPENDING without having become AWSCURRENT.
    """

    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    UNSIGNED = "waits for a signature"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Started:
    """A rotation that is under way.

    Attributes:
        since: the moment of the start by AWS's clock, a little early; older lines tell of earlier runs.
        taken_up: whether it was under way before.
        told: lines of its log from before, which tell of earlier runs.
    """

    arn: str
    name: str
    version_id: str
    since: datetime
    taken_up: bool = False
    told: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen of a rotation at one moment.

    Attributes:
        labels: those of the rotation's version.
        unsigned: whether some version keeps a signing request.
        lines: how each step ended, as far as the log tells.
        log_unreadable: why the log cannot be read; empty if it can.
    """

    labels: frozenset[str] = frozenset()
    unsigned: bool = False
    lines: Mapping[Step, Line] = field(default_factory=dict)
    log_unreadable: str = ""

    @property
    def ended(self) -> Line | None:
        """The line of the step that stopped it."""
        return next((it for it in self.lines.values() if it.result is not Result.DONE), None)

    @property
    def promoted(self) -> bool:
        """Whether the labels are as a finished rotation leaves them."""
        return AWSCURRENT in self.labels and AWSPENDING not in self.labels


def outcome(sight: Sight, *, seen_pending: bool, quiet: float) -> Outcome | None:
    """What has become of the rotation; None while it is under way. Pure.

    Args:
        sight: what is seen now.
        seen_pending: whether the version was at AWSPENDING before.
        quiet: for how many seconds no label has said that it is under way; where the log cannot be read, since when it
            has been watched.
    """
    if sight.ended:
        return Outcome.UNSIGNED if sight.ended.waits_for_signature else Outcome.FAILED
    if Step.FINISH in sight.lines:
        return Outcome.DONE
    if seen_pending and not sight.labels & {AWSPENDING, AWSCURRENT} and quiet > SETTLED:
        return Outcome.CANCELLED
    late = quiet > LATE
    if sight.promoted and (late or sight.log_unreadable):
        return Outcome.DONE
    return Outcome.UNSIGNED if sight.log_unreadable and sight.unsigned and late else None


def results(sight: Sight, end: Outcome | None) -> dict[Step, Result]:
    """What has become of each step. One that says nothing while a later one does has been done. Pure."""
    order = list(Step)
    reached = max((order.index(it) for it in sight.lines), default=-1)
    if end is Outcome.DONE:
        return dict.fromkeys(order, Result.DONE)
    found = {}
    for position, step in enumerate(order):
        if step in sight.lines:
            found[step] = sight.lines[step].result
        elif position < reached:
            found[step] = Result.DONE
        elif sight.log_unreadable:
            found[step] = Result.UNKNOWN
        else:
            found[step] = Result.RUNNING if position == reached + 1 and end is None else Result.WAITING
    return found


def start(deployment: Deployment, secret: SecretDescription) -> Started:
    """Have a secret rotated; a rotation that is under way is taken up, with its token.

    Raises:
        RotationNotEnabledError: its rotation is switched off.
        InvalidInputError: it is marked for deletion.
    """
    require_rotating(deployment, secret)
    version_id = str(uuid.uuid4())
    client = deployment.session.client("secretsmanager")
    told = _told(deployment, secret)
    try:
        answer: Any = client.rotate_secret(SecretId=secret.arn, ClientRequestToken=version_id)
    except ClientError as error:
        if "previous rotation" not in error.response["Error"].get("Message", "").lower():
            raise
        pending = _pending(deployment, secret)
        return Started(secret.arn, secret.name, pending, moment_of(error.response), taken_up=True, told=told)
    return Started(secret.arn, secret.name, version_id, moment_of(answer))


def pending_rotation(deployment: Deployment, secret: SecretDescription) -> Started:
    """The rotation that is under way, from now on.

    Raises:
        NotYetVisibleError: none is.
    """
    answer = deployment.session.client("secretsmanager").describe_secret(SecretId=secret.arn)
    told, pending = _told(deployment, secret), _pending(deployment, secret)
    return Started(secret.arn, secret.name, pending, moment_of(answer), taken_up=True, told=told)


def moment_of(answer: Any) -> datetime:
    """When AWS answered, by its own clock, and a second before for the parts that it leaves out."""
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return (parsedate_to_datetime(date) if date else datetime.now(UTC)) - timedelta(seconds=1)


class RotationLog:
    """The log of the stack's rotate function."""

    def __init__(self, deployment: Deployment) -> None:
        self._group = deployment.resources.get("RotateLogs", "")
        self._client: CloudWatchLogsClient = deployment.session.client("logs")

    def about(self, version_id: str, since: datetime) -> list[str]:
        """The messages that name a version, in order.

        Raises:
            ClientError: the log cannot be read.
        """
        pages = self._client.get_paginator("filter_log_events").paginate(
            logGroupName=self._group, filterPattern=f'"{version_id}"', startTime=int(since.timestamp() * 1000)
        )
        events = [event for page in pages for event in page["events"]]
        return [it["message"] for it in sorted(events, key=lambda it: it["timestamp"])]


class Follower:
    """Watches a rotation by its labels and by the function's log."""

    def __init__(self, context: CommandContext) -> None:
        self._context = context
        self._versions = context.deployment.services.versions
        self._log = RotationLog(context.deployment)

    def follow(self, rotation: Started, timeout: float, *, until_signed: bool = False) -> tuple[Sight, Outcome]:
        """Watch until it has ended, and show how it is getting on.

        Args:
            rotation: which.
            timeout: for how many seconds.
            until_signed: whether to go on where it waits for an external CA's signature.

        Raises:
            StillUnderWayError: it had not within `timeout` seconds.
        """
        goes_on = f"It goes on by itself. `mtlsctl rotate {rotation.name} --wait` takes it up again."
        with self._context.waiting(goes_on):
            found, running = self._follow(rotation, timeout, until_signed=until_signed)
        if found is not None:
            return found
        raise StillUnderWayError(
            where=f"secret {rotation.name}, version {rotation.version_id}",
            found=f"{running} still under way after {timeout:g} s",
            expected="the rotation to end within that time",
            remedy=goes_on,
        )

    def _follow(
        self, rotation: Started, timeout: float, *, until_signed: bool
    ) -> tuple[tuple[Sight, Outcome] | None, str]:
        """How it ended, if it did in time, and the step that ran last."""
        view = View(rotation.name)
        sight, seen_pending, moved_at = Sight(), False, time.monotonic()
        with Live(
            view, console=self._context.progress, transient=True, auto_refresh=self._context.progress.is_terminal
        ):
            for _ in Deadline.within(timeout).attempts(longest=1.0):
                sight = self._look(rotation, sight.log_unreadable)
                moving = AWSPENDING in sight.labels
                seen_pending |= moving
                if moving and not sight.log_unreadable:
                    moved_at = time.monotonic()
                end = outcome(sight, seen_pending=seen_pending, quiet=time.monotonic() - moved_at)
                if end is Outcome.UNSIGNED and until_signed:
                    end = None
                view.update(sight, end)
                if end is not None:
                    return (sight, end), view.running
        return None, view.running

    def _look(self, rotation: Started, log_unreadable: str) -> Sight:
        try:
            stages = self._versions.describe(rotation.arn).stages
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            stages = {}  # it was just made, and cannot be seen yet
        lines: Sequence[Line] = ()
        if not log_unreadable:
            try:
                messages = self._log.about(rotation.version_id, rotation.since)
                lines = log.read((it for it in messages if it not in rotation.told), rotation.version_id)
            except ClientError as error:
                log_unreadable = _why_unreadable(error)
        labels = stages.get(rotation.version_id, frozenset())
        unsigned = any(SIGNING_REQUEST in it for it in stages.values())
        return Sight(labels, unsigned, log.latest(lines), log_unreadable)


def _why_unreadable(error: ClientError) -> str:
    """Why the log cannot be read, if that will not change; empty where it is only not there yet, or asked too often."""
    code = error.response["Error"]["Code"]
    if code in {"ResourceNotFoundException", "ThrottlingException"}:
        return ""
    return f"AWS.{code}"


def require_rotating(deployment: Deployment, secret: SecretDescription) -> None:
    """See that a secret can be rotated.

    Raises:
        RotationNotEnabledError: its rotation is switched off.
        InvalidInputError: it is marked for deletion.
    """
    if secret.deleted:
        raise InvalidInputError(
            where=f"secret {secret.name}",
            found="a secret that is marked for deletion",
            expected="one that is in use",
            remedy=f"Bring it back with `aws secretsmanager restore-secret --secret-id {secret.name}`.",
        )
    if not secret.rotation_enabled:
        raise RotationNotEnabledError(
            where=f"secret {secret.name}",
            found="rotation switched off",
            expected="a secret with a rotation schedule",
            remedy=f"Switch it on: aws secretsmanager rotate-secret --secret-id {secret.name}"
            f" --rotation-lambda-arn {deployment.outputs['RotateFunction']}"
            " --rotation-rules 'ScheduleExpression=rate(10 days)'",
        )


def _told(deployment: Deployment, secret: SecretDescription) -> frozenset[str]:
    """What the log says already of the rotation that is under way, if one is."""
    pending = secret.version_at(AWSPENDING)
    if pending is None:
        return frozenset()
    try:
        return frozenset(RotationLog(deployment).about(pending, utc_now() - LATELY))
    except ClientError:
        return frozenset()  # the follower finds that out, and says so


def _pending(deployment: Deployment, secret: SecretDescription) -> str:
    """The version of the rotation that is under way."""
    for _ in Deadline.within(LATE).attempts():
        description = deployment.services.versions.describe(secret.arn)
        pending = description.version_at(AWSPENDING)
        if pending is not None and pending != description.version_at(AWSCURRENT):
            return pending
    raise NotYetVisibleError(
        where=f"secret {secret.name}",
        found="no version at AWSPENDING",
        expected="the one of the rotation that is under way, as Secrets Manager says",
        remedy="It has most likely ended by now. Try again.",
    )


class View:
    """The table that is shown while a rotation is under way."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._results = results(Sight(), None)
        self._seconds: dict[Step, float | None] = {}
        self._running_since = time.monotonic()

    @property
    def running(self) -> str:
        """The step that is under way."""
        return next((it for it, result in self._results.items() if result is Result.RUNNING), "the rotation")

    def update(self, sight: Sight, end: Outcome | None) -> None:
        """Show what is seen now."""
        before = self.running
        self._results = results(sight, end)
        self._seconds = {step: line.seconds for step, line in sight.lines.items()}
        if self.running != before:
            self._running_since = time.monotonic()

    def __rich__(self) -> RenderableType:
        table = Table("step", "", "seconds", box=SIMPLE_HEAD)
        for step, result in self._results.items():
            running = result is Result.RUNNING
            seconds = time.monotonic() - self._running_since if running else self._seconds.get(step)
            mark = Spinner("dots", text=result) if running else Text(result, style=STYLES.get(result, "dim"))
            table.add_row(step, mark, "" if seconds is None else f"{seconds:.1f}")
        return Group(line((f"rotation of {self._name}", "italic")), table)
