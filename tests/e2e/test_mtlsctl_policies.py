"""What each command of mtlsctl needs on top of status, as docs/mtlsctl.md has it: enough, and needed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from demo import sam
from demo.waiting import await_condition
from tests.kit.deployment import Deployment
from tests.kit.mtlsctl import Mtlsctl

DOCUMENT = (sam.ROOT / "docs" / "mtlsctl.md").read_text()
COMMANDS = {
    "Verify": [["verify", "client"], ["verify", "ca"]],
    "Truststore": [["truststore", "sync", "--wait"]],
    "Revoke": [
        ["revoke", "client", "--yes", "--wait"],
        ["revoke", "client", "--label", "AWSPREVIOUS", "--undo", "--yes", "--wait"],
    ],
    "Export": [["export", "client", "--yes"]],
}


def block(heading: str) -> Any:
    """The last JSON block of a section."""
    section = DOCUMENT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return json.loads(section.rpartition("```json\n")[2].partition("```")[0])


@pytest.fixture
def names(gateway: Deployment) -> dict[str, str]:
    account = sam.session(gateway.environment).client("sts").get_caller_identity()["Account"]
    return {"STACK": gateway.stack.name, "BUCKET": gateway.bucket, "REGION": "us-east-1", "ACCOUNT": account}


@pytest.fixture(params=COMMANDS)
def section(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def operator(gateway: Deployment, section: str) -> Iterator[str]:
    """A user without a policy, and gone afterwards."""
    gateway.await_rest(gateway.client)
    iam, name = sam.session(gateway.environment).client("iam"), f"operator-{section.lower()}"
    iam.create_user(UserName=name)
    yield name
    for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName=name, PolicyName="may")
    iam.delete_user(UserName=name)


def test_the_documented_policy_is_enough_and_needed(
    gateway: Deployment, section: str, operator: str, names: dict[str, str]
) -> None:
    iam = sam.session(gateway.environment).client("iam")
    key = iam.create_access_key(UserName=operator)["AccessKey"]
    theirs = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    mtlsctl = Mtlsctl({**gateway.environment, **theirs}, gateway.stack.name)

    def may(statements: list[Any]) -> None:
        text = json.dumps({"Version": "2012-10-17", "Statement": statements})
        for name, value in names.items():
            text = text.replace(name, value)
        iam.put_user_policy(UserName=operator, PolicyName="may", PolicyDocument=text)

    looks = block("Doctor")["Statement"]
    may(looks)
    denied = mtlsctl(*COMMANDS[section][0])
    assert denied.exit_code == 2
    assert denied.err.splitlines()[-1].startswith("AWS.AccessDenied"), denied.err

    may(looks + block(section))
    for command in COMMANDS[section]:
        await_condition(lambda: "AWSPENDING" not in gateway.labels(gateway.client), "rest", 30.0)
        ran = mtlsctl(*command)
        assert ran.exit_code == 0, ran.err
