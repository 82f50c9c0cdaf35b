"""What failed lately, and whether it has succeeded since: red is what is wrong now, the past stands apart.

What failed is told by a function's log, by the function, or in a rotation by the secret and the step. The same has
succeeded since if a run of it has ended well after the last failure. `judged` is pure; `Record` asks AWS, of what has
failed alone.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from mtls_rotation.contract.labels import AWSCURRENT, AWSPREVIOUS
from mtls_rotation.contract.tags import STACK_TAG
from mtls_rotation.errors import WaitingForCertificateError
from mtls_rotation.timing import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mtlsctl.stack.deployment import Deployment
    from mtlsctl.stack.survey import Survey

# What a function says when it has ended well. Others say nothing: their metrics do.
_ENDED_WELL = {
    "RotateFunction": "step done",
    "TruststoreSyncFunction": "reconciled",
    "RevocationFunction": "revocation done",
    "SignedCertificateFunction": "taken",
}
# After these another run has to do the same again: if it ends well, that is done.
_SHOWN_BY_A_RUN = {
    *("step failed", "sync failed", "revocation failed", "not all could be done", "not decided", "bootstrap failed"),
    *("no route table", "the document before stays in place"),
}
# Where a line says what went wrong.
_TELLING = ("exception", "message", "errorMessage", "problems")
# As many pages, which may be empty, as are read of a log.
_PAGES = 50
# Of so many secrets' steps a function is asked whether they have succeeded since; of the rest their labels tell.
_ASKED = 20
# How finely metrics tell when a function ran; for a day that is half of what one call takes.
_PERIOD = timedelta(minutes=2)
_SETTLED = {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
_CALL = re.compile(
    r"not authorized to perform:? (?P<action>[a-z0-9-]+:\w+)(?: on resource:? \"?(?P<resource>arn:\S+))?"
)


@dataclass(frozen=True, slots=True)
class Failure:
    """An error in the log of a function.

    Attributes:
        function: its logical id.
        secret: the ARN of the secret in whose rotation it was; empty elsewhere.
        step: of that rotation; empty elsewhere.
        version: likewise.
        text: what the line says.
        request: the id of the run that logged it; empty where the line has none.
        in_passing: whether a run that ends well shows nothing of what failed, as it goes on without it.
    """

    function: str
    at: datetime
    text: str
    secret: str = ""
    step: str = ""
    version: str = ""
    request: str = ""
    in_passing: bool = False

    @property
    def work(self) -> tuple[str, str, str]:
        """What failed; it is what has to succeed."""
        return self.function, self.secret, self.step

    @property
    def call(self) -> tuple[str, str]:
        """The action of AWS that was denied, and on what; empty where the line does not say."""
        found = _CALL.search(self.text)
        return (found["action"], (found["resource"] or "").rstrip('".,')) if found else ("", "")


@dataclass(frozen=True, slots=True)
class Success:
    """What shows that something goes well again."""

    at: datetime
    what: str


@dataclass(frozen=True, slots=True)
class Episode:
    """Failures of one kind.

    Attributes:
        failures: the oldest first.
        success: what has succeeded since the last of them; None if nothing has.
    """

    kind: str
    failures: tuple[Failure, ...]
    success: Success | None

    @property
    def last(self) -> Failure:
        """The last of them."""
        return self.failures[-1]


def judged(
    failures: Iterable[tuple[str, Failure]], succeeded: Callable[[Failure], Success | None]
) -> Iterator[Episode]:
    """Tell what goes on from what is over: for each piece of work by itself, so that none hides another.

    Args:
        failures: each with its kind.
        succeeded: what has succeeded since a failure; it is asked of the last of each kind of failure of a work.
    """
    groups: dict[tuple[str, tuple[str, str, str], bool], list[Failure]] = defaultdict(list)
    for kind, failure in failures:
        groups[kind, failure.work, failure.in_passing].append(failure)
    for (kind, _, _), alike in groups.items():
        alike.sort(key=lambda it: it.at)
        # A run that fails is told of by the function and by Lambda.
        once = {it.request or str(number): it for number, it in enumerate(alike)}
        yield Episode(kind, tuple(once.values()), succeeded(alike[-1]))


def failures_in(function: str, lines: Iterable[dict[str, Any]]) -> list[Failure]:
    """The failures that lines of a function's log tell of. A line of Lambda's own is of the work that its run did."""
    lines = list(lines)
    works = {request: line for line in lines if line.get("secret") and (request := _request(line))}
    found = []
    for line in lines:
        if line.get("errorType") == WaitingForCertificateError.__name__:
            continue  # that is no failure, though Lambda takes it for one
        work = line if line.get("secret") else works.get(_request(line), {})
        secret, step, version = (str(work.get(it) or "") for it in ("secret", "step", "version"))
        failure = Failure(
            function,
            line.get("at") or utc_now(),
            " ".join(str(line[it]) for it in _TELLING if line.get(it)),
            secret,
            step,
            version,
            request=_request(line),
            # What Lambda itself logs has no location of ours, and is the end of a run.
            in_passing="location" in line and str(line.get("message")) not in _SHOWN_BY_A_RUN,
        )
        found.append(failure)
    return found


def _request(line: dict[str, Any]) -> str:
    return str(line.get("function_request_id") or line.get("requestId") or "")


def _is_of(line: dict[str, Any], failure: Failure) -> bool:
    """Whether a line is of the same work, and of another run."""
    same = failure.secret in {"", line.get("secret")} and failure.step in {"", line.get("step")}
    return same and not (failure.request and _request(line) == failure.request)


def line_of(event: dict[str, Any]) -> dict[str, Any] | None:
    """A line of a structured log, with the moment at which it was written as `at`; None if it is none."""
    try:
        line = json.loads(event["message"])
    except (ValueError, RecursionError):
        return None
    return line | {"at": datetime.fromtimestamp(event["timestamp"] / 1000, UTC)} if isinstance(line, dict) else None


class _Context(Protocol):
    """As much as is asked here of what is looked at."""

    @property
    def deployment(self) -> Deployment: ...

    @property
    def survey(self) -> Survey: ...

    def physical(self, logical_id: str) -> str | None: ...

    def client(self, service: str) -> Any: ...


class Record:
    """What has succeeded since: asked for when something has failed, and once for each failure."""

    def __init__(self, context: _Context) -> None:
        self._context = context
        self._known: dict[Failure, Success | None] = {}
        self._asked = 0

    def since(self, failure: Failure) -> Success | None:
        """What has succeeded since; None if nothing has, or if that cannot be told."""
        if failure not in self._known:
            self._known[failure] = self._since(failure)
        return self._known[failure]

    def _since(self, failure: Failure) -> Success | None:
        match failure.function:
            case "RotateFunction":
                found = self._by_labels(failure) or self._by_log(failure)
            case "BootstrapFunction" if failure.text.startswith("revocation: "):
                # What it could not do of the first list, the revocation function has to do.
                found = self._by_log(replace(failure, function="RevocationFunction", in_passing=False))
            case "BootstrapFunction":
                found = self._by_deployment(failure)
            case function if function in _ENDED_WELL:
                found = self._by_log(failure)
            case _:
                found = self._by_metrics(failure)
        # A run that ends well though a call was denied shows nothing: the next may not make the call.
        return found if found and not (failure.in_passing and self._is_denied_yet(failure)) else None

    def _by_labels(self, failure: Failure) -> Success | None:
        """The whole rotation has come through since, or its secret is gone."""
        if not failure.secret:
            return None
        secret = next((it for it in self._context.survey.secrets if it.arn == failure.secret), None)
        if secret is None:
            return self._by_absence(failure)
        if failure.version and {AWSCURRENT, AWSPREVIOUS} & secret.stages.get(failure.version, frozenset()):
            # Its last moment tells when; the labels alone tell that.
            return Success(max(failure.at, secret.last_rotated or failure.at), f"the rotation of {secret.name}")
        if secret.last_rotated and failure.at < secret.last_rotated:
            return Success(secret.last_rotated, f"a rotation of {secret.name}")
        return None

    def _by_absence(self, failure: Failure) -> Success | None:
        from botocore.exceptions import ClientError  # what asks no AWS starts without it

        secrets = self._context.client("secretsmanager")
        try:
            secrets.describe_secret(SecretId=failure.secret)
        except secrets.exceptions.ResourceNotFoundException:
            return Success(utc_now(), "the secret is gone")
        except ClientError:
            pass
        return None

    def _by_log(self, failure: Failure) -> Success | None:
        group = self._context.physical(f"{failure.function.removesuffix('Function')}Logs")
        self._asked += bool(failure.secret)
        if not group or self._asked > _ASKED:
            return None
        words = _ENDED_WELL[failure.function]
        pattern = " ".join(f'"{it}"' for it in (words, failure.secret, failure.step) if it)
        after = int(failure.at.timestamp() * 1000) + 1
        pages = (
            self._context.client("logs")
            .get_paginator("filter_log_events")
            .paginate(logGroupName=group, startTime=after, filterPattern=pattern)
        )
        for event in (event for page in islice(pages, _PAGES) for event in page["events"]):
            line = line_of(event)
            if line and line.get("message") == words and _is_of(line, failure):
                return Success(line["at"], self._named(failure))
        return None

    def _named(self, failure: Failure) -> str:
        if not failure.secret:
            return f"a run of {failure.function}"
        return f"{failure.step or 'a step'} of {self.name(failure.secret)}"

    def name(self, arn: str) -> str:
        """A secret's name where it is known."""
        return next((it.name for it in self._context.survey.secrets if it.arn == arn), arn)

    def _by_deployment(self, failure: Failure) -> Success | None:
        """The bootstrap runs in deployments alone: one that began later has gone through."""
        deployment = self._context.deployment
        began = deployment.updated
        if deployment.state in _SETTLED and began and failure.at < began:
            return Success(began, "a deployment")
        return None

    def _by_metrics(self, failure: Failure) -> Success | None:
        name = self._context.physical(failure.function)
        if not name:
            return None
        ran, failed = (self.points(name, it, failure.at) for it in ("Invocations", "Errors"))
        # A period that began before it failed may have gone well before that.
        well = sorted(at for at, count in ran.items() if at > failure.at and count > failed.get(at, 0.0))
        return Success(well[0], f"a run of {failure.function}") if well else None

    def points(self, function: str, metric: str, since: datetime) -> dict[datetime, float]:
        """A metric of a function: by the beginning of each period, its sum."""
        points = self._context.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName=metric,
            Dimensions=[{"Name": "FunctionName", "Value": function}],
            StartTime=since,
            EndTime=utc_now(),
            Period=int(_PERIOD.total_seconds()),
            Statistics=["Sum"],
        )["Datapoints"]
        return {it["Timestamp"]: it["Sum"] for it in points}

    def _is_denied_yet(self, failure: Failure) -> bool:
        """By IAM's simulator; also where that cannot be told."""
        action, resource = failure.call
        role = self._context.physical(f"{failure.function.removesuffix('Function')}Role")
        if not action or not role:
            return False
        iam, tag = self._context.client("iam"), f"aws:ResourceTag/{STACK_TAG}"
        entry = {"ContextKeyName": tag, "ContextKeyValues": [self._context.deployment.name], "ContextKeyType": "string"}
        (result,) = iam.simulate_principal_policy(
            PolicySourceArn=iam.get_role(RoleName=role)["Role"]["Arn"],
            ActionNames=[action],
            ResourceArns=[resource or "*"],
            ContextEntries=[entry],
        )["EvaluationResults"]
        return bool(result["EvalDecision"] != "allowed")
