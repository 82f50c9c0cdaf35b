from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.localaws.support import wait_until


def code_of(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def stages(secrets: Any, secret: str) -> dict[str, list[str]]:
    return dict(secrets.describe_secret(SecretId=secret).get("VersionIdsToStages", {}))


def test_a_secret_without_a_value_has_no_version(secrets: Any) -> None:
    arn = secrets.create_secret(Name=f"empty-{uuid.uuid4().hex}")["ARN"]
    assert stages(secrets, arn) == {}
    assert code_of(secrets.get_secret_value, SecretId=arn) == "ResourceNotFoundException"


def test_the_first_value_becomes_current_whatever_label_it_came_with(secrets: Any) -> None:
    arn = secrets.create_secret(Name=f"empty-{uuid.uuid4().hex}")["ARN"]
    secrets.put_secret_value(SecretId=arn, SecretString="x", VersionStages=["AWSPENDING"])
    assert [sorted(labels) for labels in stages(secrets, arn).values()] == [["AWSCURRENT", "AWSPENDING"]]


def test_a_repeated_token_with_the_same_value_changes_nothing(secrets: Any, secret: str) -> None:
    token = str(uuid.uuid4())
    put = {"SecretId": secret, "ClientRequestToken": token, "SecretString": "v", "VersionStages": ["AWSPENDING"]}
    first = secrets.put_secret_value(**put)
    before = stages(secrets, secret)
    again = secrets.put_secret_value(**put)
    assert again["VersionId"] == first["VersionId"] == token
    assert stages(secrets, secret) == before


def test_a_repeated_token_with_another_value_is_refused(secrets: Any, secret: str) -> None:
    token = str(uuid.uuid4())
    secrets.put_secret_value(SecretId=secret, ClientRequestToken=token, SecretString="v")
    assert (
        code_of(secrets.put_secret_value, SecretId=secret, ClientRequestToken=token, SecretString="w")
        == "ResourceExistsException"
    )
    assert secrets.get_secret_value(SecretId=secret)["SecretString"] == "v"


def test_a_label_is_on_one_version_only(secrets: Any, secret: str) -> None:
    one, two = (
        secrets.put_secret_value(SecretId=secret, SecretString=v, VersionStages=["AWSPENDING"])["VersionId"]
        for v in ("a", "b")
    )
    assert stages(secrets, secret)[two] == ["AWSPENDING"]
    assert one not in stages(secrets, secret)


def test_a_version_without_labels_is_kept_and_readable(secrets: Any, secret: str) -> None:
    lost = secrets.put_secret_value(SecretId=secret, SecretString="a", VersionStages=["AWSPENDING"])["VersionId"]
    secrets.put_secret_value(SecretId=secret, SecretString="b", VersionStages=["AWSPENDING"])
    assert secrets.get_secret_value(SecretId=secret, VersionId=lost)["SecretString"] == "a"
    listed = secrets.list_secret_version_ids(SecretId=secret)["Versions"]
    all_listed = secrets.list_secret_version_ids(SecretId=secret, IncludeDeprecated=True)["Versions"]
    assert lost not in [v["VersionId"] for v in listed]
    assert lost in [v["VersionId"] for v in all_listed]


def test_moving_current_leaves_previous_behind_and_pending_alone(secrets: Any, secret: str) -> None:
    (old,) = stages(secrets, secret)
    new = secrets.put_secret_value(SecretId=secret, SecretString="b", VersionStages=["AWSPENDING"])["VersionId"]
    secrets.update_secret_version_stage(
        SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=new, RemoveFromVersionId=old
    )
    assert {vid: sorted(labels) for vid, labels in stages(secrets, secret).items()} == {
        old: ["AWSPREVIOUS"],
        new: ["AWSCURRENT", "AWSPENDING"],
    }


def test_a_label_is_moved_only_from_where_the_caller_says_it_is(secrets: Any, secret: str) -> None:
    (old,) = stages(secrets, secret)
    new = secrets.put_secret_value(SecretId=secret, SecretString="b", VersionStages=["AWSPENDING"])["VersionId"]
    move = {"SecretId": secret, "VersionStage": "AWSCURRENT", "MoveToVersionId": new}
    assert code_of(secrets.update_secret_version_stage, **move) == "InvalidParameterException"
    assert code_of(secrets.update_secret_version_stage, **move, RemoveFromVersionId=new) == "InvalidParameterException"
    assert stages(secrets, secret)[old] == ["AWSCURRENT"]


def test_current_cannot_be_taken_away(secrets: Any, secret: str) -> None:
    (old,) = stages(secrets, secret)
    assert (
        code_of(
            secrets.update_secret_version_stage, SecretId=secret, VersionStage="AWSCURRENT", RemoveFromVersionId=old
        )
        == "InvalidParameterException"
    )


def test_pending_can_be_taken_away(secrets: Any, secret: str) -> None:
    new = secrets.put_secret_value(SecretId=secret, SecretString="b", VersionStages=["AWSPENDING"])["VersionId"]
    secrets.update_secret_version_stage(SecretId=secret, VersionStage="AWSPENDING", RemoveFromVersionId=new)
    assert new not in stages(secrets, secret)


def test_a_version_and_a_label_that_do_not_belong_together_are_refused(secrets: Any, secret: str) -> None:
    (current,) = stages(secrets, secret)
    secrets.put_secret_value(SecretId=secret, SecretString="b", VersionStages=["AWSPENDING"])
    assert (
        code_of(secrets.get_secret_value, SecretId=secret, VersionId=current, VersionStage="AWSPENDING")
        == "InvalidRequestException"
    )


def test_a_missing_version_is_not_found(secrets: Any, secret: str) -> None:
    for missing in ({"VersionId": str(uuid.uuid4())}, {"VersionStage": "AWSPENDING"}):
        assert code_of(secrets.get_secret_value, SecretId=secret, **missing) == "ResourceNotFoundException"


def test_the_listing_names_the_labels_of_every_version(secrets: Any, secret: str) -> None:
    name = secrets.describe_secret(SecretId=secret)["Name"]
    secrets.put_secret_value(SecretId=secret, SecretString="b")
    (entry,) = secrets.list_secrets(Filters=[{"Key": "name", "Values": [name]}])["SecretList"]
    assert entry["SecretVersionsToStages"] == stages(secrets, secret)
    assert sorted(map(tuple, entry["SecretVersionsToStages"].values())) == [("AWSCURRENT",), ("AWSPREVIOUS",)]


def test_the_listing_goes_on_over_pages(secrets: Any) -> None:
    prefix = f"page-{uuid.uuid4().hex}"
    made = {secrets.create_secret(Name=f"{prefix}-{n}")["Name"] for n in range(5)}
    pages = secrets.get_paginator("list_secrets").paginate(
        Filters=[{"Key": "name", "Values": [prefix]}], PaginationConfig={"PageSize": 2}
    )
    listed = [entry["Name"] for page in pages for entry in page["SecretList"]]
    assert len(listed) == 5
    assert set(listed) == made


def test_the_listing_leaves_out_what_is_marked_for_deletion_unless_asked(secrets: Any, secret: str) -> None:
    name = secrets.describe_secret(SecretId=secret)["Name"]
    secrets.delete_secret(SecretId=secret, RecoveryWindowInDays=7)
    only = {"Filters": [{"Key": "name", "Values": [name]}]}
    assert secrets.list_secrets(**only)["SecretList"] == []
    assert len(secrets.list_secrets(**only, IncludePlannedDeletion=True)["SecretList"]) == 1
    assert code_of(secrets.get_secret_value, SecretId=secret) == "InvalidRequestException"
    assert "DeletedDate" in secrets.describe_secret(SecretId=secret)


def test_a_moved_label_is_an_event(secrets: Any, client: Callable[[str], Any], secret: str) -> None:
    queues, events = client("sqs"), client("events")
    name = f"q-{uuid.uuid4().hex[:8]}"
    url = queues.create_queue(QueueName=name)["QueueUrl"]
    pattern = {"source": ["aws.secretsmanager"], "resources": [secret]}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": f"arn:aws:sqs:us-east-1:123456789012:{name}"}])
    secrets.put_secret_value(SecretId=secret, SecretString="b", VersionStages=["AWSPENDING"])
    new = secrets.put_secret_value(SecretId=secret, SecretString="c")["VersionId"]
    received = wait_until(lambda: queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"))
    (event,) = (json.loads(message["Body"]) for message in received)
    assert event["detail-type"] == "Secret Label Updated"
    assert event["resources"] == [secret]
    assert event["detail"] == {
        "name": secrets.describe_secret(SecretId=secret)["Name"],
        "labelUpdated": "AWSCURRENT",
        "versionId": new,
    }
