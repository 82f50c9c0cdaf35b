"""How soon a changed policy of a role counts."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from acceptance.probes.api import Answer, Probe

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene


def _ask(run: Run, _: Scene) -> Answer:
    role = run.make_role("lag", {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"})
    client = run.assumed(role)("kms")
    document = {"Effect": "Allow", "Action": "kms:ListKeys", "Resource": "*"}
    began = time.monotonic()
    run.account.clients.iam.put_role_policy(
        RoleName=role.rpartition("/")[2],
        PolicyName="later",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [document]}),
    )
    run.waiting.until(lambda: _may(client), "the policy counts", run.account.pace.lag)
    took = time.monotonic() - began
    return Answer("at once" if took < run.account.pace.soon else "late", f"after {took:.1f} s")


def _may(client: Any) -> bool:
    try:
        client.list_keys()
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        return False
    return True


PROBE = Probe(
    name="iam-lag",
    question="How soon does a changed policy of a role count?",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency",
    how="A role in use is given a policy, and uses it until it may.",
    readings={"at once": "within five seconds", "late": "after that"},
    expected="late",
    ask=_ask,
    setting="iam_policy_lag",
)
