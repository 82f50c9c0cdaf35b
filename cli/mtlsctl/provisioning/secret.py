"""Makes a secret that was planned, and switches its rotation on: both, or neither."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from mtls_rotation.errors import NotYetVisibleError
from mtls_rotation.timing import Deadline
from mtlsctl.errors import AwsError, from_aws
from mtlsctl.following.rotation import Started, moment_of
from mtlsctl.provisioning.planning import name_taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mtlsctl.provisioning.planning import Plan
    from mtlsctl.stack.deployment import Deployment

# How long Secrets Manager may take to find what it has just made.
_VISIBLE_WITHIN = 15.0
# The same, where it is to be taken away again, and may not be there at all.
_SHOWN_WITHIN = 3.0


def make(
    deployment: Deployment, plan: Plan, value: str, version_id: str, *, immediately: bool, function: str
) -> Started:
    """Make the secret, and switch its rotation on. If that fails or is broken off, the secret is deleted again.

    Args:
        deployment: whose secret it is to be.
        plan: what it is to be.
        value: its first value.
        version_id: that value's version.
        immediately: whether to rotate it at once.
        function: the ARN of the function that rotates it.

    Returns:
        Its first rotation; or, where it is not rotated at once, the trial of its configuration.

    Raises:
        NameTakenError: a secret of that name was made since it was planned.
        ClientError: AWS refused something. Nothing is left.
        AwsError: AWS refused something, and the deletion too. The message says what is left.
    """
    secrets = deployment.session.client("secretsmanager")
    token = str(uuid.uuid4())
    with undone_on_failure(
        lambda: _take_back(secrets, plan.name, version_id),
        f"aws secretsmanager delete-secret --secret-id {plan.name} --force-delete-without-recovery",
    ):
        arn = _create(secrets, plan, value, version_id)
        _await_visible(deployment, arn, version_id)
        answer = secrets.rotate_secret(
            SecretId=arn,
            ClientRequestToken=token,
            RotationLambdaARN=function,
            RotationRules={"ScheduleExpression": plan.schedule},
            RotateImmediately=immediately,
        )
    return Started(arn, plan.name, token, moment_of(answer))


@contextmanager
def undone_on_failure(undo: Callable[[], object], by_hand: str) -> Iterator[None]:
    """Undo something if what follows fails, or is broken off.

    Args:
        undo: how.
        by_hand: how an operator undoes it.

    Raises:
        AwsError: it could not be undone.
    """
    try:
        yield
    except BaseException as failure:
        try:
            undo()
        except (ClientError, BotoCoreError) as refusal:
            why = from_aws(refusal)
            raise AwsError(
                why.code,
                where=why.where,
                found=f"{why.found}, when this was to be undone: {str(failure) or type(failure).__name__}",
                expected="nothing to be left of what could not be finished",
                remedy=f"Something may be left. Look, and take it away with: {by_hand}",
            ) from failure
        raise


def _take_back(secrets: Any, name: str, version_id: str) -> None:
    """Delete the secret, if it is there with our value: an answer may have been lost, and the name be another's."""
    for _ in Deadline.within(_SHOWN_WITHIN).attempts():
        try:
            described = secrets.describe_secret(SecretId=name)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
        else:
            if version_id in described.get("VersionIdsToStages", {}):
                secrets.delete_secret(SecretId=described["ARN"], ForceDeleteWithoutRecovery=True)
                return


def _create(secrets: Any, plan: Plan, value: str, version_id: str) -> str:
    key = {"KmsKeyId": plan.key_id} if plan.key_id else {}
    try:
        answer = secrets.create_secret(
            Name=plan.name,
            Description=plan.description,
            SecretString=value,
            ClientRequestToken=version_id,
            Tags=[{"Key": name, "Value": text} for name, text in plan.tags.items()],
            **key,
        )
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code == "ResourceExistsException":
            raise name_taken(plan.name, deleted=False) from None
        if code == "InvalidRequestException" and "deletion" in message:
            raise name_taken(plan.name, deleted=True) from None
        raise
    return str(answer["ARN"])


def _await_visible(deployment: Deployment, arn: str, version_id: str) -> None:
    """Wait until Secrets Manager shows what was just made: the rotation reads it at once."""
    for _ in Deadline.within(_VISIBLE_WITHIN).attempts():
        try:
            if version_id in deployment.services.versions.describe(arn).stages:
                return
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
    raise NotYetVisibleError(
        where=f"secret {arn}",
        found="nothing that can be seen of it",
        expected="the secret that was just made",
        remedy="It was taken away again. Try once more.",
    )
