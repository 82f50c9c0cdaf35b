"""A run that is small, and never ends by itself: its stack is a secret, a bucket and a queue.

`python -m tests.integration.acceptance.small FOLDER` conducts it against the AWS of its environment.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from acceptance import account, stacks
from acceptance.account import LOCALLY, Account
from acceptance.conduct import Conductor, Programme
from acceptance.run import Run, fresh_name
from acceptance.scenarios.api import Scenario
from localaws.__main__ import heed_signals

if TYPE_CHECKING:
    from acceptance.report import Checks
    from acceptance.scenarios.api import Scene

TEMPLATE = {
    "Resources": {
        "Secret": {
            "Type": "AWS::SecretsManager::Secret",
            "DeletionPolicy": "Retain",
            "Properties": {"Name": {"Fn::Sub": "${AWS::StackName}/client"}},
        },
        "Bucket": {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain"},
        "Queue": {"Type": "AWS::SQS::Queue"},
    },
    "Outputs": {"Bucket": {"Value": {"Ref": "Bucket"}}},
}
MADE = "all is made"


def at_hand() -> Account:
    """The account of the environment, at the pace of a local AWS."""
    return replace(account.at_hand(), pace=LOCALLY)


def prepare(run: Run) -> None:
    """Put the small template where the run's is."""
    body = json.dumps(TEMPLATE).encode()
    run.account.clients.s3.put_object(Bucket=run.bucket, Key=stacks.PACKAGED.name, Body=body)


def make(run: Run, checks: Checks | None = None, scene: Scene | None = None) -> None:
    """Make one of everything."""
    stack = stacks.deploy(run, "small", {})
    run.account.clients.s3.put_object(Bucket=stack.outputs["Bucket"], Key="one", Body=b"1")
    run.make_secret("probe", "value")
    run.make_role("probe", {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"})
    run.make_key()
    # As rotation makes one for a CA.
    run.account.clients.kms.create_key(
        Tags=[{"TagKey": "mtls-rotation:stack", "TagValue": stack.name}],
        Description=f"Signs as the CA of {stack.name}/ca, version 1.",
    )


def _make_and_wait(run: Run, checks: Checks, scene: Scene) -> None:
    make(run)
    print(MADE, run.name, flush=True)
    run.waiting.pause(600.0)


if __name__ == "__main__":
    heed_signals()
    report = Conductor(at_hand(), Path(sys.argv[1]), print).conduct(
        fresh_name(), None, Programme([Scenario("small", "It is removed.", _make_and_wait)], [], prepare)
    )
    sys.exit(1 if report.problems else 0)
