"""Where a marked event got lost, told by those that came through; and what it takes to send none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mtlsctl.commands.doctor import THROUGH, marked_events
from mtlsctl.findings import attention
from mtlsctl.findings.probing import Path, Probing, cut_by, judge, paths_of
from mtlsctl.report import Finding, Severity
from mtlsctl.stack import rules

RESOURCES = {it.rule: f"s-{it.rule}" for it in rules.RULES} | {
    "SyncQueue": "https://sqs/1/s-SyncQueue",
    "TruststoreSyncLogs": "sync",
    "RevocationLogs": "revocation",
    "SignedCertificateLogs": "signed",
}


class Stack:
    """A stack whose rules, bucket and functions answer marked events, or do not.

    Attributes:
        deaf: the rules that tell nobody.
        refused: the operations that the credentials may not call.
    """

    def __init__(self, *, deaf: tuple[str, ...] = (), refused: tuple[str, ...] = (), waiting: int = 0) -> None:
        self.deaf, self.refused, self.waiting = deaf, refused, waiting
        self.logs: dict[str, list[str]] = {"sync": [], "revocation": [], "signed": []}
        services = SimpleNamespace(bus=SimpleNamespace(put_all=self.put_all))
        self.deployment = SimpleNamespace(name="s", outputs={"BucketName": "b"}, services=services, resources={})
        self.sent: list[str] = []

    def physical(self, logical_id: str) -> str | None:
        return RESOURCES.get(logical_id)

    def client(self, _: str) -> Any:
        return self

    def _require(self, operation: str) -> None:
        if operation in self.refused:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)

    def _tell(self, rule: str, mark: str) -> None:
        if rule not in self.deaf:
            of = next(it for it in rules.RULES if it.rule == rule)
            log = {rules.QUEUE: "sync", rules.REVOCATION: "revocation", rules.INTAKE: "signed"}[of.target]
            self.logs[log].append(json.dumps({"message": "a probe came through", "probe": mark}))

    def put_all(self, events: Iterator[Any]) -> None:
        self._require("PutEvents")
        for event in events:
            mark = event.detail["probe"]
            self.sent.append(mark)
            self._tell("SyncRequestedRule", mark)
            if "stack" in event.detail:
                self._tell("RevocationFunctionListLost", mark)
            if "kind" in event.detail:
                self._tell("RevocationFunctionNewCa", mark)

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:  # noqa: N803
        self._require("PutObject")
        assert (Bucket, Body) == ("b", b"")
        self.sent.append(Key)
        _, path, mark = Key.split("/")
        rule = {
            "anchors": "StaticAnchorsRule",
            "revoked": "RevocationFunctionNotice",
            "list": "RevocationFunctionListWritten",
            "signed": "SignedCertificateRule",
        }[path]
        self._tell(rule, mark)

    def get_paginator(self, _: str) -> Stack:
        return self

    def paginate(self, *, logGroupName: str, **_: Any) -> list[Any]:  # noqa: N803
        self._require("FilterLogEvents")
        return [{"events": [{"message": it} for it in ["no JSON", "7", *self.logs[logGroupName]]]}]

    def get_queue_attributes(self, **_: Any) -> Any:
        return {"Attributes": {"ApproximateNumberOfMessages": str(self.waiting)}}


def looked(stack: Stack, *known: Finding) -> list[Finding]:
    probing = Probing(stack, known)  # type: ignore[arg-type]
    probing.put_events()
    probing.put_objects()
    return list(probing.findings(0.0))


def test_nothing_is_found_where_every_marked_event_comes_through() -> None:
    stack = Stack()

    assert looked(stack) == []
    assert len(stack.sent) == 6


ALL = [it.rule for it in paths_of(Stack())]  # type: ignore[arg-type]
BUCKET = ("StaticAnchorsRule", "RevocationFunctionNotice", "RevocationFunctionListWritten", "SignedCertificateRule")


@pytest.mark.parametrize("rule", [it for it in ALL if it != "SignedCertificateRule"])
def test_one_that_is_lost_where_others_came_through_got_lost_at_its_rule(rule: str) -> None:
    (finding,) = looked(Stack(deaf=(rule,)))

    assert finding.subject == f"rule s-{rule}"
    assert (finding.severity, "got lost at this rule" in finding.what) == (Severity.ATTENTION, True)


def test_all_that_were_put_into_the_bucket_got_lost_behind_it() -> None:
    (finding,) = looked(Stack(deaf=BUCKET))

    assert (finding.subject, "between the bucket and EventBridge" in finding.what) == ("bucket b", True)


@pytest.mark.parametrize(
    ("waiting", "what"), [(0, "was the queue purged?"), (3, "it waits with 3 others in the queue")]
)
def test_all_for_the_queue_got_lost_in_it_or_wait(waiting: int, what: str) -> None:
    (finding,) = looked(Stack(deaf=("SyncRequestedRule", "StaticAnchorsRule"), waiting=waiting))

    assert what in finding.what
    assert finding.remedy.startswith("aws logs tail sync" if waiting else "sleep 60; mtlsctl truststore sync --wait")


def test_all_for_a_function_got_lost_at_it() -> None:
    revocation = tuple(it.rule for it in rules.RULES if it.target == rules.REVOCATION)
    (finding,) = looked(Stack(deaf=revocation))

    assert (finding.subject, finding.remedy) == ("revocation", "aws logs tail revocation --since 15m")


def test_nothing_is_sent_over_an_edge_that_is_cut() -> None:
    cut = attention("queue s-SyncQueue", "its policy does not let EventBridge in", "aws sqs mend")
    stack = Stack(deaf=("SyncRequestedRule", "StaticAnchorsRule"))
    (finding,) = looked(stack, cut)

    assert (finding.remedy, "as an edge is cut" in finding.what) == ("aws sqs mend", True)
    assert "s-SyncRequestedRule" in finding.subject
    # The bus would lead there, and one of the objects.
    assert [it.split("/")[1] for it in stack.sent] == ["revoked", "list", "signed"]


@pytest.mark.parametrize(
    ("subject", "cut"),
    [
        ("rule s-StaticAnchorsRule", True),
        ("queue s-SyncQueue", True),
        ("truststore_sync", True),
        ("TruststoreSyncFunction", True),
        ("bucket b", True),
        ("rule s-SyncRequestedRule", False),
        ("RevocationFunction", False),
        ("the topic of alarms", False),
    ],
)
def test_a_path_is_cut_by_what_is_on_it(subject: str, cut: bool) -> None:
    path = Path("StaticAnchorsRule", "s-StaticAnchorsRule", rules.QUEUE, "bucket")

    assert bool(cut_by(path, [attention(subject, "w", "r")])) is cut


@pytest.mark.parametrize(
    ("refused", "action"),
    [("PutEvents", "events:PutEvents"), ("PutObject", "s3:PutObject"), ("FilterLogEvents", "logs:FilterLogEvents")],
)
def test_without_a_permission_it_is_unknown_with_its_name_and_the_way_to_do_without(refused: str, action: str) -> None:
    through, _ = marked_events(Stack(refused=(refused,)), [], 0.0)  # type: ignore[arg-type]

    assert through.question == THROUGH
    (finding,) = through.findings
    assert (finding.severity, action in finding.remedy) == (Severity.UNKNOWN, True)
    assert finding.remedy.endswith("Or look with --read-only, which sends none.")


def test_every_set_of_lost_events_is_told_of() -> None:
    """Whatever is lost, something is red: by every set of paths that there is."""
    stack: Any = Stack()
    paths = paths_of(stack)
    for number in range(1, 1 << len(paths)):
        lost = [it for at, it in enumerate(paths) if number >> at & 1]
        told = list(judge(lost, paths, 0, stack))
        assert told, lost
        assert all(it.remedy and it.runbook for it in told)
