"""Whether a role that may set some tags, and put no key policy, may make a key with those and a policy of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from acceptance.ledger import Kind, Thing
from acceptance.probes.api import Answer, Probe

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene

TAG = "mtls-acceptance:probe"


def _ask(run: Run, _: Scene) -> Answer:
    # As template.yaml has it: the tags give no right, and the key's own policy does.
    if_it_sets_the_tag = {"StringEquals": {f"aws:RequestTag/{TAG}": run.name}}
    these_alone = {"ForAllValues:StringEquals": {"aws:TagKeys": [TAG, *run.tags]}}
    role = run.make_role(
        "making",
        {"Effect": "Allow", "Action": "kms:CreateKey", "Resource": "*", "Condition": if_it_sets_the_tag},
        {
            "Effect": "Allow",
            "Action": "kms:TagResource",
            "Resource": "*",
            "Condition": if_it_sets_the_tag | these_alone,
        },
    )
    client = run.assumed(role)("kms")
    refused: list[str] = []

    def is_made() -> bool:
        refused[:] = [_used(run, client, role)]
        return not refused[0]

    try:
        run.waiting.until(is_made, "the role makes a key and uses it by its policy", run.account.pace.lag)
    except TimeoutError:
        return Answer("refused", refused[0])
    return Answer("made", "and its own policy lets the role use it")


def _used(run: Run, client: Any, role: str) -> str:
    """What making a key, or using it, is refused with; empty if neither is."""
    tags = [{"TagKey": key, "TagValue": value} for key, value in {**run.tags, TAG: run.name}.items()]
    try:
        made = client.create_key(
            Tags=tags,
            Description=f"Of {run.name}.",
            KeySpec="ECC_NIST_P256",
            KeyUsage="SIGN_VERIFY",
            Policy=_policy(run, role),
            BypassPolicyLockoutSafetyCheck=True,
        )["KeyMetadata"]
        run.ledger.will_make(Thing(Kind.KEY, made["KeyId"]))
        run.waiting.until(lambda: _known(client, made["Arn"]), "KMS knows the key", run.account.pace.lag)
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        return str(error)
    return ""


def _known(client: Any, key: str) -> bool:
    try:
        client.get_public_key(KeyId=key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"NotFoundException", "KMSInvalidStateException"}:
            raise
        return False
    return True


def _policy(run: Run, role: str) -> str:
    """As the engine has it: the account administers the key, and the role uses it, named by a condition."""
    account = role.split(":")[4]
    statements = [
        {
            "Principal": {"AWS": f"arn:{run.account.partition}:iam::{account}:root"},
            "Action": ["kms:Describe*", "kms:Get*", "kms:Put*", "kms:ScheduleKeyDeletion", "kms:TagResource"],
        },
        {
            "Principal": {"AWS": "*"},
            "Action": ["kms:GetPublicKey", "kms:Sign"],
            "Condition": {"StringEquals": {"kms:CallerAccount": account}, "ArnLike": {"aws:PrincipalArn": role}},
        },
    ]
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*"} | it for it in statements]}
    )


PROBE = Probe(
    name="kms-tag-on-create",
    question="May a role make a KMS key with tags and a policy that lets it use the key, and put no policy otherwise?",
    source="https://docs.aws.amazon.com/kms/latest/developerguide/customer-managed-policies.html",
    how="A role with the template's statements makes a key with the engine's policy, and asks for its public key.",
    readings={"made": "yes; the key's own policy gives the right", "refused": "no: no CA in KMS could be made"},
    expected="made",
    ask=_ask,
    promise=True,
)
