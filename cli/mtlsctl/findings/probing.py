"""Marked events: what `doctor` sends through each path whose beginning it can reach, and whether it comes through.

The bus and the bucket are where the paths begin. A function that hears a marked event says so in its log, and does no
more. The authorizer is invoked by API Gateway itself, without a certificate, and refuses.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from mtls_rotation.contract import probes
from mtls_rotation.contract.events import PATH_PROBED, Event
from mtlsctl.findings import attention
from mtlsctl.findings.edges import rules_of
from mtlsctl.report import Severity
from mtlsctl.stack import rules

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from mtlsctl.findings import DoctorContext
    from mtlsctl.report import Finding

# How long a marked event may take: a function that starts takes seconds, and its log as long again.
SECONDS = 60.0
_PAUSE = 1.0
# Where FilterLogEvents begins: this machine's clock and AWS's differ by less (`doctor` looks at that, too).
_BACK = 120.0

_REFUSES = "The gateway answers 503"

_ON_THE_BUS = {
    "SyncRequestedRule": "stack",
    "RevocationFunctionListLost": "stack",
    "RevocationFunctionNewCa": "kind",
}
_IN_THE_BUCKET = {
    "StaticAnchorsRule": probes.ANCHORS,
    "RevocationFunctionNotice": probes.NOTICES,
    "RevocationFunctionListWritten": probes.LIST,
    "SignedCertificateRule": probes.ANSWERS,
}
_LOGS = {rules.QUEUE: "TruststoreSyncLogs", rules.REVOCATION: "RevocationLogs", rules.INTAKE: "SignedCertificateLogs"}
_FUNCTIONS = {rules.QUEUE: "truststore_sync", rules.REVOCATION: "revocation", rules.INTAKE: "signed_certificate"}


@dataclass(frozen=True, slots=True)
class Path:
    """From where a marked event is sent to the function that answers.

    Attributes:
        rule: its rule's logical id.
        name: that rule's name.
        target: the logical id of the queue or the function that the rule tells.
        start: "bus" or "bucket".
    """

    rule: str
    name: str
    target: str
    start: str


@dataclass
class Probing:
    """The marked events of one look at a stack.

    Attributes:
        known: what the other checks found: over an edge that is cut nothing is sent, as it would count as a failure.
        sent: mark by path.
        refused: path → what EventBridge said to its event.
    """

    context: DoctorContext
    known: Sequence[Finding]
    sent: dict[Path, str] = field(default_factory=dict)
    refused: dict[Path, str] = field(default_factory=dict)
    _began: float = field(default_factory=time.time)

    @cached_property
    def cut(self) -> dict[Path, Finding]:
        """The paths with an edge that is cut. What is put on the bus is heard by all rules there, or by none."""
        found = {it: cause for it in paths_of(self.context) if (cause := cut_by(it, self.known))}
        on_the_bus = next((cause for it, cause in found.items() if it.start == "bus"), None)
        others = [it for it in paths_of(self.context) if it.start == "bus" and on_the_bus]
        return {**{it: on_the_bus for it in others if on_the_bus}, **found}

    def put_events(self) -> None:
        """Send one through each path from the bus.

        Raises:
            ClientError: the credentials may not.
        """
        marks = {kind: uuid.uuid4().hex for kind in ("stack", "kind")}
        stack = self.context.deployment.name
        # Each has what one rule asks for and the other one does not.
        details: dict[str, dict[str, object]] = {"stack": {"stack": stack}, "kind": {"kind": "ca"}}
        paths = [it for it in paths_of(self.context) if it.start == "bus" and it not in self.cut]
        if not paths:
            return
        events = [Event(PATH_PROBED, {"probe": marks[kind], **detail}) for kind, detail in details.items()]
        try:
            self.context.deployment.services.bus.put_all(events)
        except RuntimeError as error:
            self.refused |= dict.fromkeys(paths, str(error))
        else:
            self.sent |= {it: marks[_ON_THE_BUS[it.rule]] for it in paths}

    def put_objects(self) -> None:
        """Send one through each path from the bucket.

        Raises:
            ClientError: the credentials may not.
        """
        s3, bucket = self.context.client("s3"), self.context.deployment.outputs["BucketName"]
        for path in (it for it in paths_of(self.context) if it.start == "bucket" and it not in self.cut):
            mark = uuid.uuid4().hex
            s3.put_object(Bucket=bucket, Key=f"{_IN_THE_BUCKET[path.rule]}{mark}", Body=b"")
            self.sent[path] = mark

    def findings(self, seconds: float) -> Iterator[Finding]:
        """What did not come through within some seconds from now."""
        lost = self._lost(seconds)
        if self.cut:
            names = ", ".join(sorted(it.name for it in self.cut))
            what = "no marked event was sent through, as an edge is cut"
            subject = f"rules {names}" if len(self.cut) > 1 else f"rule {names}"
            yield attention(subject, what, next(iter(self.cut.values())).remedy)
        for path, reason in self.refused.items():
            yield attention(f"rule {path.name}", reason, "mtlsctl doctor  # once more", _runbook(path.target))
        if lost:
            waiting = waiting_messages(self.context) if any(it.target == rules.QUEUE for it in lost) else 0
            yield from judge(lost, self.sent.keys(), waiting, self.context)

    def _lost(self, seconds: float) -> list[Path]:
        left, until = dict(self.sent), time.monotonic() + seconds
        while left:
            heard = self._heard({it.target for it in left})
            left = {path: mark for path, mark in left.items() if mark not in heard[path.target]}
            if time.monotonic() > until:
                break
            if left:
                time.sleep(_PAUSE)
        return list(left)

    def _heard(self, targets: Collection[str]) -> Mapping[str, set[str]]:
        """The marks that the functions behind these targets have answered."""
        logs, since = self.context.client("logs"), int((self._began - _BACK) * 1000)
        heard: dict[str, set[str]] = {}
        for target in targets:
            pages = logs.get_paginator("filter_log_events").paginate(
                logGroupName=self.context.physical(_LOGS[target]), startTime=since, filterPattern=f'"{probes.ANSWER}"'
            )
            lines = (event["message"] for page in pages for event in page["events"])
            heard[target] = {mark for line in lines if (mark := _answered(line))}
        return heard


def cut_by(path: Path, told: Iterable[Finding]) -> Finding | None:
    """What was found of an edge of a path."""
    subjects = {f"rule {path.name}", path.target, _FUNCTIONS[path.target]}
    kinds = (*(("queue ",) if path.target == rules.QUEUE else ()), *(("bucket ",) if path.start == "bucket" else ()))
    if path.target == rules.QUEUE:
        subjects.add("TruststoreSyncFunction")
    wrong = (it for it in told if it.severity is Severity.ATTENTION)
    return next((it for it in wrong if it.subject in subjects or it.subject.startswith(kinds)), None)


def _answered(line: str) -> str:
    try:
        return str(json.loads(line)["probe"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def paths_of(context: DoctorContext) -> list[Path]:
    """The paths of this stack that a marked event can be sent through. AWS alone sends through the others."""
    return [
        Path(it.rule, name, it.target, "bus" if it.rule in _ON_THE_BUS else "bucket")
        for it, name in rules_of(context)
        if it.rule in _ON_THE_BUS or it.rule in _IN_THE_BUCKET
    ]


def judge(lost: Collection[Path], all_of: Collection[Path], waiting: int, context: DoctorContext) -> Iterator[Finding]:
    """Where marked events got lost, as narrow as the ones that came through tell it.

    Args:
        lost: the paths whose event did not come through.
        all_of: all that one was sent through.
        waiting: how many messages the sync's queue holds.
        context: what the remedies name.
    """
    left = list(lost)
    bucket = [it for it in all_of if it.start == "bucket"]
    if bucket and all(it in left for it in bucket) and len(left) < len(all_of):
        what = "a marked object that was put there told no function: it got lost between the bucket and EventBridge"
        remedy = "sleep 300; mtlsctl doctor  # S3 takes about five minutes once EventBridge was switched on"
        name = context.deployment.outputs["BucketName"]
        yield attention(f"bucket {name}", what, remedy, "The truststore does not follow")
        left = [it for it in left if it.start != "bucket"]
    for target, function in _FUNCTIONS.items():
        through, gone = [it for it in all_of if it.target == target], [it for it in left if it.target == target]
        if gone and len(gone) == len(through):
            yield _lost_at_target(target, function, waiting, context)
        else:
            yield from (_lost_at_rule(it, function) for it in gone)


def _lost_at_rule(path: Path, function: str) -> Finding:
    what = f"a marked event did not come through to {function}: it got lost at this rule, where others came through"
    return attention(
        f"rule {path.name}", what, "mtlsctl doctor  # once more, if a rule was just changed", _runbook(path.target)
    )


def _lost_at_target(target: str, function: str, waiting: int, context: DoctorContext) -> Finding:
    if target != rules.QUEUE:
        what = f"no marked event came through to {function}: it does not run, or its log does not tell of it"
        return attention(function, what, _log_of(target, context), _runbook(target))
    if waiting:
        what = f"a marked event did not come through: it waits with {waiting} others in the queue for {function}"
        return attention(function, what, _log_of(target, context), _runbook(target))
    return attention(
        f"queue {(context.physical(target) or '').rpartition('/')[2]}",
        f"a marked event did not come through to {function}, and does not wait either: was the queue purged?",
        # A purge takes a minute, and takes what is sent meanwhile.
        "sleep 60; mtlsctl truststore sync --wait",
        _runbook(target),
    )


def _log_of(target: str, context: DoctorContext) -> str:
    return f"aws logs tail {context.physical(_LOGS[target])} --since 15m"


def _runbook(target: str) -> str:
    return "Revocation fails" if target == rules.REVOCATION else "The truststore does not follow"


def waiting_messages(context: DoctorContext) -> int:
    """How many messages the sync's queue holds, those that a function has at the moment among them."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = context.client("sqs").get_queue_attributes(QueueUrl=context.physical("SyncQueue"), AttributeNames=names)
    return sum(int(answer["Attributes"].get(it, 0)) for it in names)


def authorizer_answers(context: DoctorContext, known: Iterable[Finding]) -> Iterator[Finding]:
    """Have API Gateway invoke the authorizer, without a certificate: it refuses, and that it does shows the edge.

    Args:
        context: the stack.
        known: what the other checks found: over an edge that is cut nothing is sent.

    https://docs.aws.amazon.com/apigateway/latest/api/API_TestInvokeAuthorizer.html
    """
    api, function = context.physical("GatewayApi"), context.physical("AuthorizerFunction")
    if not api or not function:
        return
    edge = {f"REST API {api}", "AuthorizerFunction"}
    wrong = (it for it in known if it.severity is Severity.ATTENTION)
    if cause := next((it for it in wrong if it.subject in edge or it.subject.startswith(f"REST API {api},")), None):
        what = "no marked request was sent to the authorizer, as an edge is cut"
        yield attention(f"REST API {api}", what, cause.remedy, _REFUSES)
        return
    gateway: Any = context.client("apigateway")
    for authorizer in gateway.get_authorizers(restApiId=api).get("items", []):
        answer = gateway.test_invoke_authorizer(
            restApiId=api, authorizerId=authorizer["id"], headers={}, pathWithQueryString="/"
        )
        if not answer.get("policy"):
            log = str(answer.get("log", "")).strip().splitlines()
            reason = log[-1] if log else f"status {answer.get('clientStatus')}"
            yield attention(
                f"REST API {api}",
                f"a marked request did not come through to the authorizer, so nobody is let in: {reason}",
                f"aws logs tail {context.physical('AuthorizerLogs')} --since 15m",
                _REFUSES,
            )
