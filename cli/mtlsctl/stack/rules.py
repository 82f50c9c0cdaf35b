"""The stack's EventBridge rules as the template makes them: what each hears, and whom it tells. Pure."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtls_rotation.contract import events, layout, probes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

type Pattern = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Names:
    """What patterns name of a stack."""

    stack: str
    stack_id: str
    bucket: str


@dataclass(frozen=True, slots=True)
class StackRule:
    """A rule.

    Attributes:
        rule: its logical id.
        target: the logical id of the queue or the function that it tells.
        what: what it tells of, as an operator knows it.
        schedule: when it fires by itself; empty where it hears events.
        target_id: the id of its target.
    """

    rule: str
    target: str
    what: str
    schedule: str = ""
    target_id: str = ""

    @property
    def into_queue(self) -> bool:
        """Whether it tells a queue, and not a function."""
        return self.target.endswith("Queue")

    def pattern(self, names: Names) -> Pattern | None:
        """The events that it hears; None where it fires by a schedule."""
        match self.rule:
            case "SyncRequestedRule":
                return _ours(events.TRUSTSTORE_SYNC_REQUESTED, events.PATH_PROBED)
            case "LabelUpdatedRule":
                return {
                    "source": ["aws.secretsmanager"],
                    "detail-type": ["Secret Label Updated"],
                    "detail": {"labelUpdated": ["AWSCURRENT"]},
                }
            case "StackChangedRule":
                done = ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED"]
                return {
                    "source": ["aws.cloudformation"],
                    "detail-type": ["CloudFormation Stack Status Change"],
                    "detail": {"stack-id": [names.stack_id], "status-details": {"status": done}},
                }
            case "StaticAnchorsRule":
                keys = (layout.STATIC_ANCHORS, layout.DISTRUSTED_ANCHORS, probes.ANCHORS)
                return _objects(names, *({"prefix": it} for it in keys))
            case "RevocationFunctionNotice":
                return _objects(names, {"prefix": layout.REVOKED}, {"prefix": probes.NOTICES})
            case "RevocationFunctionListWritten":
                return _objects(names, layout.REVOCATION_LIST, {"prefix": probes.LIST})
            case "SignedCertificateRule":
                return _objects(names, {"prefix": layout.SIGNED}, {"prefix": probes.ANSWERS}, deleted=False)
            case "RevocationFunctionListLost":
                return _ours(events.REVOCATION_LIST_LOST, events.PATH_PROBED) | {"detail": {"stack": [names.stack]}}
            case "RevocationFunctionNewCa":
                return _ours(events.CLIENT_CERTIFICATE_ROTATED, events.PATH_PROBED) | {"detail": {"kind": ["ca"]}}
        return None


def _ours(*detail_types: str) -> dict[str, Any]:
    return {"source": [events.SOURCE], "detail-type": list(detail_types)}


def _objects(names: Names, *keys: str | dict[str, str], deleted: bool = True) -> dict[str, Any]:
    return {
        "source": ["aws.s3"],
        "detail-type": ["Object Created", *(["Object Deleted"] if deleted else [])],
        "detail": {"bucket": {"name": [names.bucket]}, "object": {"key": list(keys)}},
    }


QUEUE, REVOCATION, INTAKE = "SyncQueue", "RevocationFunction", "SignedCertificateFunction"
RULES = (
    StackRule("SyncRequestedRule", QUEUE, "rotations that wait to be trusted", target_id="sync"),
    StackRule("LabelUpdatedRule", QUEUE, "certificates that came into use", target_id="sync"),
    StackRule("StaticAnchorsRule", QUEUE, "anchors that are uploaded or distrusted", target_id="sync"),
    StackRule("DailyRule", QUEUE, "the daily sync", "rate(1 day)", target_id="sync"),
    StackRule("StackChangedRule", QUEUE, "deployments", target_id="sync"),
    StackRule("RevocationFunctionNotice", REVOCATION, "revocations"),
    StackRule("RevocationFunctionListWritten", REVOCATION, "a revocation list that was written over"),
    StackRule("RevocationFunctionListLost", REVOCATION, "a revocation list that is lost"),
    StackRule("RevocationFunctionNewCa", REVOCATION, "new CAs, which need a CRL"),
    StackRule("RevocationFunctionHourly", REVOCATION, "the hourly look at revocations", "rate(1 hour)"),
    StackRule("SignedCertificateRule", INTAKE, "signed certificates", target_id="intake"),
)


def keeps_up(deployed: str, ours: str) -> bool:
    """Whether a schedule is one, and no slower rate than ours. A cron expression is taken to be meant."""
    slower = (_minutes(deployed) or 0) > (_minutes(ours) or math.inf)
    return bool(deployed) and not slower


def _minutes(schedule: str) -> int | None:
    """Between two runs of a rate; None for a cron expression."""
    match = re.fullmatch(r"rate\((\d{1,9}) (minute|hour|day)s?\)", schedule)
    return int(match[1]) * {"minute": 1, "hour": 60, "day": 60 * 24}[match[2]] if match else None


def same(pattern: object, other: object) -> bool:
    """Whether two patterns hear the same by their texts: the order of alternatives is none."""
    try:
        return bool(_normal(pattern) == _normal(other))
    except RecursionError:  # as no pattern is that EventBridge takes
        return False


def _normal(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _normal(value) for key, value in node.items()}
    if isinstance(node, list):
        return sorted(json.dumps(_normal(it), sort_keys=True) for it in node)
    return node


def samples(pattern: Pattern) -> Iterator[dict[str, Any]]:
    """Events that a pattern hears: each of its alternatives is in one of them."""
    most = max(_widths(pattern))
    for at in range(most):
        yield {
            "id": "00000000-0000-0000-0000-000000000000",
            "account": "000000000000",
            "time": "2026-01-01T00:00:00Z",
            "region": "us-east-1",
            "resources": [],
            **_sample(pattern, at),
        }


def _widths(node: Any) -> Iterator[int]:
    if isinstance(node, list):
        yield len(node)
    else:
        for value in node.values():
            yield from _widths(value)


def _sample(node: Any, at: int) -> Any:
    if isinstance(node, list):
        one = node[at % len(node)]
        return f"{one['prefix']}sample" if isinstance(one, dict) else one
    return {key: _sample(value, at) for key, value in node.items()}
