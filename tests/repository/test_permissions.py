"""Policies hold to what AWS publishes; and the functions' roles hold what the functions' calls take, and no more."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

from localaws.iam import permissions, reference
from tests.kit import template
from tests.repository import aws_calls
from tests.repository.policies import Stated, faults, filled_in, statements

IN_THE_TEMPLATE = [it for it in statements() if it.where.startswith("template.yaml")]
ELSEWHERE = [it for it in statements() if not it.where.startswith("template.yaml")]


# A key that is being made has no ARN yet: "the permission must cover all KMS keys in the account and Region".
# https://docs.aws.amazon.com/kms/latest/developerguide/manage-tags-api.html
ANYWHERE = frozenset({"kms:TagResource"})


@pytest.mark.parametrize("it", IN_THE_TEMPLATE, ids=str)
def test_every_statement_of_the_template_is_one_that_aws_knows(it: Stated) -> None:
    assert list(faults(it, anywhere=ANYWHERE)) == []


@pytest.mark.parametrize("it", ELSEWHERE, ids=str)
def test_every_statement_of_the_examples_and_documents_is_one_that_aws_knows(it: Stated) -> None:
    anywhere = frozenset(it.body["Action"]) if it.where.startswith("docs/") else frozenset[str]()
    assert list(faults(it, anywhere=anywhere)) == []


def stated(action: str, resource: str, **keys: Any) -> Stated:
    body = {"Sid": "Planted", "Effect": "Allow", "Action": action, "Resource": resource}
    return Stated("here", body | ({"Condition": {"StringEquals": keys}} if keys else {}), own=False)


@pytest.mark.parametrize(
    ("it", "fault"),
    [
        (stated("apigateway:RemoveCertificate", "*"), "no action"),
        (stated("s3:getObject", "arn:aws:s3:::bucket/key"), "no action"),
        (stated("s3:GetObject", "arn:aws:s3:::bucket"), "does not take"),
        (stated("s3:ListBucket", "arn:aws:s3:::bucket/*"), "does not take"),
        (stated("apigateway:PATCH", "arn:aws:apigateway:us-east-1::/domainnames"), "does not take"),
        (stated("kms:Sign", "*"), "takes a resource"),
        (stated("kms:CreateKey", "arn:aws:kms:us-east-1:123456789012:key/*"), "takes no resource"),
        (
            stated("kms:Sign", "arn:aws:kms:us-east-1:123456789012:key/*", **{"kms:EncryptionContext:a": "b"}),
            "no condition key",
        ),
        (stated("sqs:SendMessage", "arn:aws:sqs:us-east-1:123456789012:q", **{"aws:Source": "b"}), "no condition key"),
    ],
)
def test_a_statement_that_aws_does_not_know_is_seen(it: Stated, fault: str) -> None:
    (found,) = faults(it)
    assert fault in found


def test_every_statement_there_is_is_looked_at() -> None:
    kinds = {it.where.partition(",")[0].partition("/")[0] for it in statements()}
    assert kinds == {"template.yaml", "examples", "docs"}
    for name in ("BucketPolicy", "Key", "SyncQueuePolicy", "AlarmsPolicy", "SyncPolicy", "GatewayMayInvokeProxy"):
        assert any(it.where == f"template.yaml, {name}" for it in statements()), name


# -- what the roles may do


def may(role: str, action: str, resource: str, **keys: str | list[str]) -> bool:
    """Whether the policies of a role allow something, with every condition of the template true."""
    policies = [parse_policy_document({"Statement": [filled_in(it.body)]}) for it in template.statements(role)]
    context = EvalContext(
        principal_arn=f"arn:aws:sts::123456789012:assumed-role/{role}/session",
        principal_type="AssumedRole",
        principal_account="123456789012",
        action=action,
        resource_arn=resource,
        region="us-east-1",
        service_context={key.lower(): value for key, value in keys.items()},
    )
    return bool(evaluate(context, policies).decision == "Allow")


KEY = "arn:aws:kms:us-east-1:123456789012:key/11112222-3333-4444-5555-666677778888"
SETS_OURS: dict[str, str | list[str]] = {
    "aws:RequestTag/mtls-rotation:made-by": "stack",
    "aws:TagKeys": ["mtls-rotation:made-by", "mtls-rotation:secret", "mtls-rotation:version"],
}
OF_A_KEY = {"kms:KeyOrigin": "AWS_KMS", "kms:KeySpec": "ECC_NIST_P256", "kms:KeyUsage": "SIGN_VERIFY"}
MAKES_KEYS = [it for it in template.roles() if any("kms:CreateKey" in s.actions for s in template.statements(it))]
OTHER_USES_OF_KEYS = [
    f"kms:{it}"
    for it in (
        "PutKeyPolicy",
        "CreateGrant",
        "ScheduleKeyDeletion",
        "DisableKey",
        "GetKeyPolicy",
        "UpdateKeyDescription",
    )
]


@pytest.mark.parametrize("role", template.roles())
@pytest.mark.parametrize("tags", [{}, {"aws:ResourceTag/mtls-rotation:made-by": "stack"}], ids=["bare", "tagged"])
def test_no_role_gets_a_key_by_a_tag_that_a_role_can_set(role: str, tags: dict[str, str]) -> None:
    """What the roles may do with the keys that they make is in the policies of those keys."""
    for ours in ({"mtls-rotation:stack": "stack"}, {"mtls-rotation:stack": "another"}):
        request = {f"aws:RequestTag/{key}": value for key, value in ours.items()}
        keys = {"aws:TagKeys": [*SETS_OURS["aws:TagKeys"], *ours]}
        assert not may(role, "kms:TagResource", KEY, **SETS_OURS | request | keys, **OF_A_KEY, **tags)
        assert not may(role, "kms:CreateKey", "*", **request, **{"aws:TagKeys": list(ours)})
    for action in ("kms:Sign", "kms:GetPublicKey", *OTHER_USES_OF_KEYS):
        assert not may(role, action, KEY, **OF_A_KEY, **tags)


@pytest.mark.parametrize("role", template.roles())
def test_a_key_that_somebody_tagged_for_the_stack_is_signed_with_at_most(role: str) -> None:
    tagged = {"aws:ResourceTag/mtls-rotation:stack": "stack"}
    for action in OTHER_USES_OF_KEYS:
        assert not may(role, action, KEY, **OF_A_KEY, **tagged), action


@pytest.mark.parametrize("role", MAKES_KEYS)
@pytest.mark.parametrize(
    ("resource", "keys"),
    [("*", {}), ("*", OF_A_KEY), (KEY, {}), (KEY, OF_A_KEY | {"aws:ResourceTag/mtls-rotation:made-by": "stack"})],
)
def test_a_key_is_tagged_as_it_is_made_whatever_it_is_to_iam_by_then(
    role: str, resource: str, keys: dict[str, str]
) -> None:
    assert may(role, "kms:CreateKey", "*", **SETS_OURS)
    assert may(role, "kms:TagResource", resource, **SETS_OURS, **keys)
    assert not may(role, "kms:CreateKey", "*")


# What the policy gives that a key of a CA is made with.
BY_THE_KEYS_POLICY = {
    "kms:GetKeyPolicy": "https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyPolicy.html",
    "kms:ScheduleKeyDeletion": "https://docs.aws.amazon.com/kms/latest/APIReference/API_ScheduleKeyDeletion.html",
}

# What services do as a function's role, and no call of ours: each by AWS's page.
AS_THE_ROLE = {
    "logs:CreateLogStream": "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html",
    "logs:PutLogEvents": "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html",
    "sqs:DeleteMessage": "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html",
    "sqs:GetQueueAttributes": "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html",
    "sqs:ReceiveMessage": "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html",
    "xray:PutTelemetryRecords": "https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html",
    "xray:PutTraceSegments": "https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html",
}


def test_the_functions_roles_hold_what_the_functions_calls_take_and_no_more() -> None:
    calls = aws_calls.calls(aws_calls.ENGINE)
    taken = {action for it in calls for action in aws_calls.actions(it)}
    granted = {
        action
        for role in template.roles()
        for it in template.statements(role)
        if it.body["Effect"] == "Allow"
        for action in it.actions
    }

    assert taken - granted == BY_THE_KEYS_POLICY.keys(), "a call of the functions that no role may make"
    assert granted - taken - AS_THE_ROLE.keys() == set(), "granted, and no call of the functions takes it"
    assert AS_THE_ROLE.keys() - granted == set()


@pytest.mark.parametrize("role", template.roles())
def test_a_role_that_may_make_a_call_may_do_all_that_the_call_takes(role: str) -> None:
    granted = {it for s in template.statements(role) if s.body["Effect"] == "Allow" for it in s.actions}
    for call in aws_calls.calls(aws_calls.ENGINE):
        name = aws_calls.named(call)
        if granted.issuperset(permissions.own(name, call.parameters)):
            assert granted.issuperset(permissions.further(name, call.parameters)), str(call)


DOMAINS = "arn:aws:apigateway:us-east-1::/domainnames"
MOVES_DOMAINS = [it for it in template.roles() if any("apigateway:PATCH" in s.actions for s in template.statements(it))]


@pytest.mark.parametrize("role", MOVES_DOMAINS)
@pytest.mark.parametrize("domain", ["domainname", "orders.example.com"])
def test_a_role_that_moves_a_domain_may_change_its_truststore_whichever_resource_aws_looks_at(
    role: str, domain: str
) -> None:
    assert {"TruststoreSyncRole", "BootstrapRole"} <= {*MOVES_DOMAINS}
    assert may(role, "apigateway:PATCH", f"{DOMAINS}/{domain}")
    for action in permissions.further("apigateway:UpdateDomainName", ("patchOperations",)):
        assert may(role, action, f"{DOMAINS}/{domain}"), action
        assert may(role, action, DOMAINS), action
        assert not may(role, action, f"{DOMAINS}/somebody-elses.example.com")


def test_the_permissions_of_every_call_of_the_product_are_known() -> None:
    for it in aws_calls.calls():
        assert aws_calls.actions(it), str(it)


def test_the_document_on_mtlsctl_names_every_action_that_its_calls_take() -> None:
    text = (aws_calls.ROOT / "docs" / "mtlsctl.md").read_text()
    told = {it for it in re.findall(r"\b[a-z0-9-]+:[A-Z]\w+\b", text) if reference.action(it)}
    taken = {action: it for it in aws_calls.calls(("cli/mtlsctl",)) for action in aws_calls.actions(it)}

    assert [f"{it}: {action}" for action, it in taken.items() if action not in told] == []


def test_nobody_but_the_roles_that_make_keys_notes_which_was_made() -> None:
    """A key is taken by its note: whoever could write one, and make a key, would have a CA made for it."""
    policy = filled_in(template.resources()["BucketPolicy"]["Properties"]["PolicyDocument"])
    (denied,) = [it for it in policy["Statement"] if "state/keys/" in str(it["Resource"])]
    roles = [f"arn:aws:iam::123456789012:role/{it.lower()}" for it in MAKES_KEYS]
    assert denied["Effect"] == "Deny"
    assert denied["Principal"] == "*"
    assert "s3:PutObject" in denied["Action"]
    assert sorted(denied["Condition"]["ArnNotEquals"]["aws:PrincipalArn"]) == sorted(roles)


# -- the tables of what the reference does not say


@pytest.mark.parametrize("it", [*permissions.NAMED, *permissions.FURTHER], ids=lambda it: it.call)
def test_every_row_is_of_a_call_and_of_actions_that_aws_has_and_names_its_page(it: Any) -> None:
    service, _, operation = it.call.partition(":")
    model = aws_calls.model(service)
    assert operation in model.operation_names
    assert not it.parameter or it.parameter in model.operation_model(operation).input_shape.members
    assert it.source.startswith("https://docs.aws.amazon.com/")
    for action in getattr(it, "actions", None) or (it.action,):
        found = reference.action(action)
        assert found is not None
        assert found.name == action


def test_no_row_says_what_the_reference_says_already() -> None:
    assert [it.call for it in permissions.NAMED if it.actions == (it.call,) and not it.parameter] == []
