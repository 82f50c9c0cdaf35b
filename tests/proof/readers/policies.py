"""Policies of resources and patterns of rules, as `mtlsctl doctor` reads them: whoever may, writes what they like."""

from __future__ import annotations

import json
from collections.abc import Iterator

from mtlsctl.findings import edges
from mtlsctl.stack import policies, rules
from mtlsctl.stack.policies import ServiceCall
from tests.proof.readers import Reader
from tests.proof.readers.bombs import JSON, members, within

_QUEUE = "arn:aws:sqs:us-east-1:123456789012:s-SyncQueue"
_RULES = [f"arn:aws:events:us-east-1:123456789012:rule/s-{it.rule}" for it in rules.RULES]
_CALLS = [ServiceCall("events.amazonaws.com", "sqs:SendMessage", _QUEUE, it) for it in _RULES]
_NAMES = rules.Names("s", "arn:aws:cloudformation:us-east-1:123456789012:stack/s/1", "b")


def readers() -> Iterator[Reader]:
    """See `Reader`."""
    own = edges.queue_policy({}, _QUEUE, _CALLS)
    denial = {
        "Effect": "Deny",
        "Principal": "*",
        "NotAction": "sqs:*",
        "Condition": {"Null": {"aws:SourceArn": "true"}},
    }
    samples = [own, {"Statement": denial}, {"Statement": [*own["Statement"], denial]}]
    stars = {"stars": lambda size: json.dumps(_about("*a" * (size // 2))).encode()}
    yield Reader(
        "policies of resources",
        _policy,
        [json.dumps(it).encode() for it in samples],
        (policies,),
        (),
        {**JSON, **within(own, "Statement", 0, bombs=JSON), **members(own["Statement"][0], "Condition"), **stars},
        largest=1 << 16,
    )
    texts = [json.dumps(pattern).encode() for it in rules.RULES if (pattern := it.pattern(_NAMES))]
    yield Reader("patterns of rules", _pattern, texts, (rules,), (), JSON, largest=1 << 14)


def _about(pattern: str) -> dict[str, object]:
    condition = {"StringLike": {"aws:SourceArn": pattern}}
    principal = {"Service": "events.amazonaws.com"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": pattern, "Resource": pattern}
    return {"Statement": [statement | {"Condition": condition}]}


def _policy(data: bytes) -> None:
    """Whatever it says, what is printed in its place lets every rule in."""
    found = policies.parsed(data.decode("utf-8", "replace"))
    for call in _CALLS:
        policies.admits(found, call)
    mended = json.loads(json.dumps(edges.queue_policy(found, _QUEUE, _CALLS)))
    assert all(policies.admits(mended, call) for call in _CALLS)


def _pattern(data: bytes) -> None:
    """A rule hears the same only if what it says is the same."""
    found = policies.parsed(data.decode("utf-8", "replace"))
    known = [pattern for it in rules.RULES if (pattern := it.pattern(_NAMES))]
    assert sum(rules.same(found, it) for it in known) <= 1
