"""What is left of a secret that a deployment made before it failed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from acceptance import stacks
from acceptance.ledger import Kind, Thing
from acceptance.probes.api import Answer, Probe, UndecidedError

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene


def _ask(run: Run, _: Scene) -> Answer:
    name = f"{run.name}-failing"
    # The second one cannot be made: its name is taken by the first.
    secret = {
        "Type": "AWS::SecretsManager::Secret",
        "DeletionPolicy": "RetainExceptOnCreate",
        "Properties": {"Name": name, "Tags": run.tag_list()},
    }
    template = {"Resources": {"First": secret, "Second": {**secret, "DependsOn": "First"}}}
    run.ledger.will_make(Thing(Kind.STACK, name))
    run.ledger.will_make(Thing(Kind.SECRET, name))
    stack = run.account.clients.cloudformation.create_stack(
        StackName=name, TemplateBody=json.dumps(template), Tags=run.tag_list()
    )["StackId"]
    if (status := stacks.await_end(run, stack)) != "ROLLBACK_COMPLETE":
        raise UndecidedError(f"the deployment ended with {status}")
    try:
        found: Any = run.account.clients.secrets.describe_secret(SecretId=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return Answer("gone", "its name is free")
    if "DeletedDate" in found:
        return Answer("waits for its deletion", f"since {found['DeletedDate']}: until then its name is taken")
    return Answer("kept")


PROBE = Probe(
    name="secret-after-a-failed-deployment",
    question="What becomes of a secret with RetainExceptOnCreate that a deployment made which then failed?",
    source="https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-deletionpolicy.html",
    how="A stack makes one, and then a second one of the same name, which fails.",
    readings={
        "gone": "the next deployment may make it anew",
        "waits for its deletion": "its name is taken for days",
        "kept": "as with Retain",
    },
    expected="gone",
    ask=_ask,
)
