"""The quick AWS answers as moto and the fakes do, where both follow AWS: the same calls, the same answers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.kit.stack import BUCKET, Stack
from tests.proof.quick_aws import CURRENT, PENDING, PREVIOUS, S3, SecretsManager, Wire

FIRST, SECOND, THIRD = (f"{number:08d}-0000-4000-8000-000000000000" for number in (1, 2, 3))
KEY = "truststore.pem"


def answer(call: Callable[..., Any], **request: Any) -> Any:
    """What comes back, or the code of the error."""
    try:
        return call(**request)
    except ClientError as error:
        return error.response["Error"]["Code"]


def quick_secrets(stack: Stack) -> SecretsManager:
    tokens = iter([FIRST])
    return SecretsManager(Wire(lambda: None), lambda: stack.moment, lambda: next(tokens))


def labels(secrets: Any) -> dict[str, set[str]]:
    stages = secrets.describe_secret(SecretId="it")["VersionIdsToStages"]
    return {version: set(found) for version, found in stages.items() if found}


def rotations(secrets: Any) -> list[Any]:
    """A walk along the versions of one secret: what each call answers, and the labels after it."""
    heard: list[Any] = []

    def hear(call: Callable[..., Any], *members: str, **request: Any) -> None:
        found = answer(call, SecretId="it", **request)
        kept = {member: found.get(member) for member in members} if isinstance(found, dict) else found
        heard.append((kept, labels(secrets)))

    put, move = secrets.put_secret_value, secrets.update_secret_version_stage
    secrets.stage("it", SECOND)
    hear(secrets.get_secret_value, VersionId=SECOND)
    hear(put, ClientRequestToken=SECOND, SecretString="two", VersionStages=[PENDING])
    hear(put, ClientRequestToken=SECOND, SecretString="another", VersionStages=[PENDING])
    hear(put, ClientRequestToken=SECOND, SecretString="two", VersionStages=[PENDING])
    hear(secrets.get_secret_value, "SecretString", VersionId=SECOND)
    hear(secrets.get_secret_value, "SecretString", VersionStage=CURRENT)
    hear(move, VersionStage=CURRENT, MoveToVersionId=SECOND)
    hear(move, VersionStage=CURRENT, MoveToVersionId=SECOND, RemoveFromVersionId=THIRD)
    return heard


def test_versions_and_their_values_are_as_motos(stack: Stack) -> None:
    stack.clients.secretsmanager.create_secret(Name="it", SecretString="one", ClientRequestToken=FIRST)
    quick = quick_secrets(stack)
    quick.create_secret(Name="it", SecretString="one")

    assert rotations(quick) == rotations(stack.secrets)


def test_current_takes_previous_along_and_other_labels_stay(stack: Stack) -> None:
    """As AWS does, where moto forgets the labels that a version has besides."""
    quick = quick_secrets(stack)
    quick.create_secret(Name="it", SecretString="one")
    for version, value in ((SECOND, "two"), (THIRD, "three")):
        quick.put_secret_value(SecretId="it", ClientRequestToken=version, SecretString=value, VersionStages=["OURS"])
        before = quick.record("it").at(CURRENT)
        quick.update_secret_version_stage(
            SecretId="it", VersionStage=CURRENT, MoveToVersionId=version, RemoveFromVersionId=before
        )

    assert labels(quick) == {SECOND: {PREVIOUS}, THIRD: {"OURS", CURRENT}}


def test_reads_lag_and_writes_do_not(stack: Stack) -> None:
    quick = quick_secrets(stack)
    quick.create_secret(Name="it", SecretString="one")
    stack.pass_time(minutes=10)
    quick.put_secret_value(SecretId="it", ClientRequestToken=SECOND, SecretString="two")
    quick.read_lags, quick.list_lags = [timedelta(seconds=3)], {"it": timedelta(minutes=5)}
    stack.pass_time(seconds=2)

    assert labels(quick) == {FIRST: {CURRENT}}
    assert answer(quick.put_secret_value, SecretId="it", ClientRequestToken=SECOND, SecretString="other") == (
        "ResourceExistsException"
    )
    stack.pass_time(seconds=2)
    assert labels(quick) == {FIRST: {PREVIOUS}, SECOND: {CURRENT}}
    assert quick.list_secrets()["SecretList"][0]["SecretVersionsToStages"] == {FIRST: [CURRENT]}
    stack.pass_time(minutes=5)
    assert SECOND in quick.list_secrets()["SecretList"][0]["SecretVersionsToStages"]


def objects(s3: Any) -> list[Any]:
    """What a walk along one object answers: error codes, contents, and whether ETags are alike."""
    put = s3.put_object
    where = {"Bucket": BUCKET, "Key": KEY}
    heard = [answer(s3.get_object, **where), answer(s3.head_object, **where)]
    first = put(**where, Body=b"one", IfNoneMatch="*", Metadata={"a": "b"})
    heard.append(answer(put, **where, Body=b"two", IfNoneMatch="*"))
    second = put(**where, Body=b"two", IfMatch=first["ETag"])
    heard.append(answer(put, **where, Body=b"three", IfMatch=first["ETag"]))
    heard.append(s3.get_object(**where)["Body"].read())
    older = s3.get_object(**where, VersionId=first["VersionId"])
    heard += [older["Body"].read(), older["Metadata"]]
    heard.append(answer(s3.get_object, **where, IfNoneMatch=second["ETag"]))
    (page,) = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="trust")
    heard.append([(it["Key"], it["ETag"] == second["ETag"], it["Size"]) for it in page["Contents"]])
    s3.delete_object(**where)
    heard += [answer(s3.get_object, **where), answer(s3.head_object, **where)]
    return heard


def test_objects_are_as_motos(empty_stack: Stack) -> None:
    assert objects(S3(Wire(lambda: None), lambda: empty_stack.moment)) == objects(empty_stack.clients.s3)


@pytest.mark.parametrize("operation", ["GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage", "RotateSecret"])
def test_a_secret_that_is_marked_for_deletion_takes_no_calls(stack: Stack, operation: str) -> None:
    quick = quick_secrets(stack)
    quick.create_secret(Name="it", SecretString="one")
    quick.delete_secret(SecretId="it")
    calls = {
        "GetSecretValue": (quick.get_secret_value, {}),
        "PutSecretValue": (quick.put_secret_value, {"ClientRequestToken": SECOND, "SecretString": "two"}),
        "UpdateSecretVersionStage": (
            quick.update_secret_version_stage,
            {"VersionStage": CURRENT, "MoveToVersionId": FIRST},
        ),
        "RotateSecret": (quick.rotate_secret, {}),
    }
    call, request = calls[operation]

    assert answer(call, SecretId="it", **request) == "InvalidRequestException"
    assert quick.list_secrets()["SecretList"] == []
    assert "DeletedDate" in quick.list_secrets(IncludePlannedDeletion=True)["SecretList"][0]
