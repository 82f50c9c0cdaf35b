"""How soon a tag of a KMS key counts for authorization."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from acceptance.probes.api import Answer, Probe

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene

TAG = "mtls-acceptance:probe"


def _ask(run: Run, _: Scene) -> Answer:
    role = run.make_role(
        "tags",
        {
            "Effect": "Allow",
            "Action": "kms:GetPublicKey",
            "Resource": "*",
            "Condition": {"StringEquals": {f"aws:ResourceTag/{TAG}": run.name}},
        },
    )
    client, kms = run.assumed(role)("kms"), run.account.clients.kms
    # The role's own policy counts when the key that had the tag from the first is allowed.
    first, second = (_key(run) for _ in range(2))
    kms.tag_resource(KeyId=first, Tags=[{"TagKey": TAG, "TagValue": run.name}])
    run.waiting.until(lambda: _may(client, first), "a key with the tag may be used", run.account.pace.lag)
    began = time.monotonic()
    kms.tag_resource(KeyId=second, Tags=[{"TagKey": TAG, "TagValue": run.name}])
    run.waiting.until(lambda: _may(client, second), "the tag counts", run.account.pace.lag)
    took = time.monotonic() - began
    return Answer("at once" if took < run.account.pace.soon else "late", f"after {took:.1f} s")


def _key(run: Run) -> str:
    """A key that is young no more."""
    key = run.make_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    run.waiting.until(lambda: _may(run.account.clients.kms, key), f"the key {key} can be used", run.account.pace.lag)
    return key


def _may(client: Any, key: str) -> bool:
    try:
        client.get_public_key(KeyId=key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {
            "AccessDeniedException",
            "KMSInvalidStateException",
            "NotFoundException",
        }:
            raise
        return False
    return True


PROBE = Probe(
    name="kms-tag-lag",
    question="How soon does a tag of a KMS key count for authorization?",
    source="https://docs.aws.amazon.com/kms/latest/developerguide/tag-authorization.html",
    how="A role that is bound to a tag asks for the public key of one that was just tagged, until it may.",
    readings={"at once": "within five seconds", "late": "the page says up to five minutes"},
    expected="late",
    ask=_ask,
    setting="kms_tag_lag",
)
