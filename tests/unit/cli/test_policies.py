"""Whether a resource's policy lets a service in, read strictly: `doctor` takes no edge for whole that is cut."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ministack.core import iam_evaluator

from mtlsctl.stack.policies import ServiceCall, admits, parsed, statements

QUEUE = "arn:aws:sqs:us-east-1:123456789012:s-SyncQueue"
RULE = "arn:aws:events:us-east-1:123456789012:rule/s-SyncRequestedRule"
CALL = ServiceCall("events.amazonaws.com", "sqs:SendMessage", QUEUE, RULE)
ALLOW: dict[str, Any] = {
    "Sid": "Take",
    "Effect": "Allow",
    "Principal": {"Service": "events.amazonaws.com"},
    "Action": "sqs:SendMessage",
    "Resource": QUEUE,
    "Condition": {"ArnEquals": {"aws:SourceArn": [RULE]}},
}
PLAIN_HTTP: dict[str, Any] = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": "sqs:*",
    "Resource": QUEUE,
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}


def policy(*stated: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(stated)}


def allowing(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in (ALLOW | changes).items() if value is not None}


@pytest.mark.parametrize(
    "statement",
    [
        ALLOW,
        allowing(Condition=None),
        allowing(Action=["SQS:SendMessage", "sqs:ReceiveMessage"]),
        allowing(Action="sqs:*", Resource="*"),
        allowing(Principal={"Service": ["sns.amazonaws.com", "events.amazonaws.com"]}),
        allowing(Condition={"ArnLike": {"AWS:SourceArn": "arn:aws:events:*:123456789012:rule/s-*"}}),
        allowing(Condition={"StringEquals": {"aws:SourceAccount": "123456789012"}}),
        allowing(Condition={"StringLike": {"aws:SourceArn": "arn:aws:events:*:rule/s-Sync*Rule"}}),
        allowing(Condition={"Bool": {"aws:SecureTransport": True}}),
        allowing(Condition={"StringEqualsIfExists": {"aws:SourceOrgID": "o-1"}}),
        allowing(Condition={"Null": {"aws:PrincipalOrgID": "true"}}),
    ],
    ids=lambda it: json.dumps({key: it.get(key) for key in ("Action", "Condition")}),
)
def test_a_statement_that_names_the_service_and_fits_lets_it_in(statement: dict[str, Any]) -> None:
    assert admits(policy(statement, PLAIN_HTTP), CALL)
    assert admits({"Statement": statement}, CALL)


@pytest.mark.parametrize(
    "statement",
    [
        allowing(Principal={"Service": "sns.amazonaws.com"}),
        allowing(Principal={"AWS": "123456789012"}),
        allowing(Principal="*"),  # everybody, says AWS, and leaves open whether services are among them
        allowing(Principal=None, NotPrincipal={"AWS": "1"}),
        allowing(Action="sqs:ReceiveMessage"),
        allowing(Action=None, NotAction="sqs:DeleteQueue"),
        allowing(Resource="arn:aws:sqs:us-east-1:123456789012:another"),
        allowing(Condition={"ArnEquals": {"aws:SourceArn": [RULE + "2"]}}),
        allowing(Condition={"ArnLike": {"aws:SourceArn": "arn:aws:*rule/s-SyncRequestedRule"}}),
        allowing(Condition={"StringEquals": {"aws:SourceArn": "arn:aws:events:*"}}),
        allowing(Condition={"StringEquals": {"aws:SourceAccount": "210987654321"}}),
        allowing(Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}}),
        allowing(Condition={"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}),
        allowing(Condition="none"),
    ],
    ids=lambda it: json.dumps({key: it.get(key) for key in ("Principal", "Action", "Condition")}),
)
def test_a_statement_that_does_not_fit_or_may_not_lets_nobody_in(statement: dict[str, Any]) -> None:
    assert not admits(policy(statement), CALL)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Principal": {"Service": "events.amazonaws.com"}},
        {"Principal": {"AWS": "*"}},
        {"Action": "sqs:Send*"},
        {"Action": None, "NotAction": "sqs:ReceiveMessage"},
        {"Principal": None, "NotPrincipal": {"AWS": "arn:aws:iam::123456789012:root"}},
        {"Resource": None, "NotResource": "arn:aws:sqs:us-east-1:123456789012:another"},
        {"Condition": {"ArnNotLike": {"aws:SourceArn": "arn:aws:events:us-east-1:123456789012:rule/other-*"}}},
        {"Condition": {"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}},
        {"Condition": {"NumericLessThan": {"aws:MultiFactorAuthAge": "1"}}},
    ],
    ids=json.dumps,
)
def test_what_denies_or_may_counts_for_more_than_what_allows(changes: dict[str, Any]) -> None:
    whole = PLAIN_HTTP | {"Condition": {}} | changes
    denial = {key: value for key, value in whole.items() if value is not None}

    assert not admits(policy(ALLOW, denial), CALL)


@pytest.mark.parametrize(
    "condition",
    [{"StringNotEquals": {"aws:SourceAccount": "123456789012"}}, {"ArnNotEquals": {"aws:SourceArn": RULE}}],
    ids=json.dumps,
)
def test_a_denial_of_others_is_none(condition: dict[str, Any]) -> None:
    assert admits(policy(ALLOW, PLAIN_HTTP | {"Condition": condition}), CALL)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "7", '{"Statement": 7}', '{"Statement": [7, null]}', "[" * 9999])
def test_what_is_no_policy_lets_nobody_in(text: str | None) -> None:
    assert statements(parsed(text)) == []
    assert not admits(parsed(text), CALL)


# -- beside the evaluator of the local AWS, which is somebody else's

_ARNS = st.sampled_from([RULE, RULE + "2", "arn:aws:events:us-east-1:123456789012:rule/*", "arn:aws:events:*", "*"])
_CONDITIONS = st.dictionaries(
    st.sampled_from(["ArnEquals", "ArnLike", "StringEquals", "StringLike", "ArnNotEquals", "StringNotLike"]),
    st.dictionaries(st.just("aws:SourceArn"), st.one_of(_ARNS, st.lists(_ARNS, min_size=1, max_size=2)), max_size=1),
    max_size=2,
)
_STATEMENTS = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Allow", "Deny"]),
        "Principal": st.sampled_from([{"Service": "events.amazonaws.com"}, {"Service": "sns.amazonaws.com"}, "*"]),
        "Action": st.sampled_from(["sqs:SendMessage", "sqs:*", "*", "sqs:ReceiveMessage"]),
        "Resource": st.sampled_from([QUEUE, "*", "arn:aws:sqs:us-east-1:123456789012:another"]),
        "Condition": _CONDITIONS,
    }
)


@given(st.lists(_STATEMENTS, max_size=3))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_nobody_is_taken_for_let_in_whom_the_local_aws_keeps_out(stated: list[dict[str, Any]]) -> None:
    context = iam_evaluator.EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action=CALL.action,
        resource_arn=QUEUE,
        region="us-east-1",
        secure_transport=True,
        service_context={"aws:sourcearn": RULE, "aws:sourceaccount": "123456789012"},
    )
    document = policy(*stated)
    theirs = iam_evaluator.evaluate_resource_policy(deepcopy(document), context, service=CALL.service).decision

    if admits(document, CALL):
        assert theirs == "Allow", document
