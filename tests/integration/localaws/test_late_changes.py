"""What AWS knows late: new keys of KMS, tags of keys, policies of roles. And what it never says of what is gone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from demo.waiting import await_condition
from localaws import LocalAws

type Connect = Callable[[str], Any]
_TAG = {"aws:ResourceTag/stack": "mine"}
_SHORT = timedelta(seconds=1)


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws.start(log_path=tmp_path_factory.mktemp("late") / "log", enforce_iam=True) as running:
        yield running


@pytest.fixture
def lags(late: LocalAws) -> Iterator[Callable[..., object]]:
    yield late.configure
    late.configure(kms_key_lag=timedelta(0), kms_tag_lag=timedelta(0), iam_policy_lag=timedelta(0))


@pytest.fixture(scope="module")
def root(late: LocalAws) -> Connect:
    names = late.environment()
    return connecting(late, names["AWS_ACCESS_KEY_ID"], names["AWS_SECRET_ACCESS_KEY"])


def connecting(late: LocalAws, key: str, password: str, token: str | None = None) -> Connect:
    made: Any = boto3.Session(key, password, token, region_name="us-east-1")
    return lambda service: made.client(service, endpoint_url=late.endpoint_url)


@pytest.fixture
def role(late: LocalAws, root: Connect, request: pytest.FixtureRequest) -> tuple[str, Connect]:
    """A role that may do nothing yet: its name, and what acts as it."""
    name = f"role-{abs(hash(request.node.name))}"
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
    arn = root("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    given = root("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    return name, connecting(late, given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


def allow(root: Connect, role: str, *actions: str, condition: dict[str, str] | None = None) -> None:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    if condition:
        statement["Condition"] = {"StringEquals": condition}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    root("iam").put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=document)


def refusal(call: Callable[[], Any]) -> str:
    """The code that a call is refused with; empty if it is not."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def new_key(root: Connect, **settings: Any) -> str:
    made = root("kms").create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY", **settings)
    return str(made["KeyMetadata"]["Arn"])


def test_a_new_key_is_not_found_and_then_in_no_state_to_be_used(root: Connect, lags: Callable[..., object]) -> None:
    old, kms = new_key(root), root("kms")
    lags(kms_key_lag=timedelta(seconds=2))
    seen: list[str] = []
    key, began = new_key(root), time.monotonic()
    while not seen or seen[-1]:
        seen.append(refusal(lambda: kms.get_public_key(KeyId=key)))
        assert time.monotonic() < began + 30
    assert list(dict.fromkeys(seen)) == ["NotFoundException", "KMSInvalidStateException", ""]
    assert time.monotonic() >= began + 1.9
    assert refusal(lambda: kms.get_public_key(KeyId=old)) == ""


def test_the_tags_of_a_key_count_late_and_show_late(
    root: Connect, lags: Callable[..., object], role: tuple[str, Connect]
) -> None:
    name, acting = role
    allow(root, name, "kms:GetPublicKey", condition=_TAG)
    lags(kms_tag_lag=_SHORT)
    key, began = new_key(root, Tags=[{"TagKey": "stack", "TagValue": "mine"}]), time.monotonic()
    listing, kms = root("resourcegroupstaggingapi"), acting("kms")
    wanted = {"ResourceTypeFilters": ["kms:key"], "TagFilters": [{"Key": "stack", "Values": ["mine"]}]}

    def shown() -> bool:
        return key in [it["ResourceARN"] for it in listing.get_resources(**wanted)["ResourceTagMappingList"]]

    assert refusal(lambda: kms.get_public_key(KeyId=key)) == "AccessDeniedException"
    assert not shown()
    await_condition(lambda: refusal(lambda: kms.get_public_key(KeyId=key)) == "", "the tag counts", 20.0)
    assert time.monotonic() >= began + 0.9
    assert shown()


def test_a_keys_own_policy_must_let_the_caller_or_the_account(root: Connect, role: tuple[str, Connect]) -> None:
    name, acting = role
    allow(root, name, "kms:GetPublicKey")
    another = root("iam").create_role(RoleName="another", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    statement = {"Effect": "Allow", "Principal": {"AWS": another}}
    policy = {"Version": "2012-10-17", "Statement": [statement | {"Action": "kms:*", "Resource": "*"}]}
    kms = acting("kms")

    assert refusal(lambda: kms.get_public_key(KeyId=new_key(root))) == ""
    closed = new_key(root, Policy=json.dumps(policy), BypassPolicyLockoutSafetyCheck=True)
    assert refusal(lambda: kms.get_public_key(KeyId=closed)) == "AccessDeniedException"


def test_what_changes_of_a_roles_policies_counts_late(
    root: Connect, lags: Callable[..., object], role: tuple[str, Connect]
) -> None:
    name, acting = role
    kms = acting("kms")
    lags(iam_policy_lag=_SHORT)
    allow(root, name, "kms:ListKeys")
    began = time.monotonic()

    assert refusal(kms.list_keys) == "AccessDeniedException"
    await_condition(lambda: refusal(kms.list_keys) == "", "the permission counts", 20.0)
    assert time.monotonic() >= began + 0.9
    root("iam").delete_role_policy(RoleName=name, PolicyName="p")
    assert refusal(kms.list_keys) == "", "what is taken away counts late, too"
    await_condition(lambda: refusal(kms.list_keys) != "", "the permission is gone", 20.0)


def test_a_secret_that_is_gone_is_denied_to_whom_a_tag_binds(root: Connect, role: tuple[str, Connect]) -> None:
    name, acting = role
    secrets, mine = root("secretsmanager"), acting("secretsmanager")
    secrets.create_secret(Name="kept", SecretString="{}", Tags=[{"Key": "stack", "Value": "mine"}])

    allow(root, name, "secretsmanager:DescribeSecret", condition=_TAG)
    assert refusal(lambda: mine.describe_secret(SecretId="kept")) == ""
    assert refusal(lambda: mine.describe_secret(SecretId="gone")) == "AccessDeniedException"
    allow(root, name, "secretsmanager:DescribeSecret")
    assert refusal(lambda: mine.describe_secret(SecretId="gone")) == "ResourceNotFoundException"
