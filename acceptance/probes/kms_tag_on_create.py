"""Whether a role that may tag no key that is there may still make one with a tag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from acceptance.ledger import Kind, Thing
from acceptance.probes.api import Answer, Probe, UndecidedError

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene

TAG = "mtls-acceptance:probe"


def _ask(run: Run, _: Scene) -> Answer:
    if_it_sets_the_tag = {"StringEquals": {f"aws:RequestTag/{TAG}": run.name}}
    # As template.yaml has it: who tags a foreign key could use it.
    no_other_key = {
        "Effect": "Deny",
        "Action": "kms:TagResource",
        "Resource": f"arn:{run.account.partition}:kms:*:*:key/*-*",
        "Condition": {
            "Null": {"kms:KeyOrigin": "false"},
            "StringNotEquals": {f"aws:ResourceTag/{TAG}": run.name},
        },
    }
    role = run.make_role(
        "making",
        {
            "Effect": "Allow",
            "Action": ["kms:CreateKey", "kms:TagResource"],
            "Resource": "*",
            "Condition": if_it_sets_the_tag,
        },
        no_other_key,
    )
    client, foreign = run.assumed(role)("kms"), run.make_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    refused: list[str] = []

    def is_made() -> bool:
        refused[:] = [_made(run, client)]
        return not refused[0]

    try:
        run.waiting.until(is_made, "the role makes a key with the tag", run.account.pace.lag)
    except TimeoutError:
        return Answer("refused", refused[0])
    try:
        client.tag_resource(KeyId=foreign, Tags=[{"TagKey": TAG, "TagValue": run.name}])
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        return Answer("made", "and a key that is there is not tagged")
    raise UndecidedError("a key that is there was tagged too: the denial has no effect")


def _made(run: Run, client: Any) -> str:
    """What making a key is refused with; empty if it is made."""
    tags = [{"TagKey": key, "TagValue": value} for key, value in {**run.tags, TAG: run.name}.items()]
    try:
        made = client.create_key(
            Tags=tags, Description=f"Of {run.name}.", KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY"
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        return str(error)
    run.ledger.will_make(Thing(Kind.KEY, made["KeyMetadata"]["KeyId"]))
    return ""


PROBE = Probe(
    name="kms-tag-on-create",
    question="May a role make a KMS key with a tag that is denied to tag keys which are there without it?",
    source="https://docs.aws.amazon.com/kms/latest/developerguide/manage-tags-api.html",
    how="A role with the template's statements makes a key with the tag, and tags a key that is there.",
    readings={"made": "yes; the denial holds for keys that are there", "refused": "no: no CA in KMS could be made"},
    expected="made",
    ask=_ask,
    promise=True,
)
