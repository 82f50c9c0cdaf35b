"""Removes what a run has made: what it is handed, what that leaves behind, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from acceptance.inventory import Inventory, is_gone
from acceptance.ledger import Kind, Thing

if TYPE_CHECKING:
    from acceptance.account import Account
    from acceptance.waiting import Waiting

# https://docs.aws.amazon.com/kms/latest/APIReference/API_ScheduleKeyDeletion.html
LEAST_DAYS_OF_A_KEY = 7
_TRIES = 3


class Cleanup:
    """Removes what runs have left in an account."""

    def __init__(self, account: Account, waiting: Waiting, say: Callable[[str], None]) -> None:
        self._account = account
        self._aws = account.clients
        self._inventory = Inventory(account)
        self._waiting = waiting
        self._say = say

    def remove(self, things: Iterable[Thing], note: Callable[[Thing], None] = lambda _: None) -> list[str]:
        """Remove them, and return what could not be, in words.

        Args:
            things: what, in any order. What is gone already is passed over.
            note: called with what turns up on the way and is to be removed too, before anything of it is lost.
        """
        problems: list[str] = []
        waiting = list(dict.fromkeys(things))
        order = list(Kind)
        while waiting:
            waiting.sort(key=lambda it: order.index(it.kind))
            thing = waiting.pop(0)
            try:
                for further in self._inventory.left_by(thing):
                    if further not in waiting:
                        note(further)
                        waiting.append(further)
                if self._remove(thing):
                    self._say(f"removed: {thing}")
            except (BotoCoreError, ClientError, TimeoutError) as error:
                problems.append(f"{thing} could not be removed: {error}")
        return problems

    # removing ---------------------------------------------------------------------------------------------------------

    def _remove(self, thing: Thing) -> bool:
        """Remove one; False where it was gone already."""
        removing = {
            Kind.STACK: self._delete_stack,
            Kind.FUNCTION: lambda name: self._aws.functions.delete_function(FunctionName=name),
            Kind.API: self._delete_api,
            Kind.QUEUE: self._delete_queue,
            Kind.SECRET: self._delete_secret,
            Kind.KEY: self._schedule_deletion,
            Kind.BUCKET: self._delete_bucket,
            Kind.LOG_GROUP: lambda name: self._aws.logs.delete_log_group(logGroupName=name),
            Kind.ROLE: self._delete_role,
            Kind.RECORD: self._delete_record,
        }
        try:
            return removing[thing.kind](thing.id) is not False
        except ClientError as error:
            if is_gone(error):
                return False
            raise

    def _delete_stack(self, stack: str) -> bool:
        """Delete it, and once more where that failed: a domain that is being updated is not deleted."""
        (found,) = self._aws.cloudformation.describe_stacks(StackName=stack)["Stacks"]
        stack = found["StackId"]
        if found["StackStatus"] == "DELETE_COMPLETE":
            return False
        # A stack that is being made may be deleted, one that is being updated may not.
        self._waiting.until(
            lambda: not self._status(stack).startswith("UPDATE") or not self._status(stack).endswith("_IN_PROGRESS"),
            f"the update of {stack} ends",
            self._account.pace.deployment,
        )
        for attempt in range(_TRIES):
            self._aws.cloudformation.delete_stack(StackName=stack)
            self._waiting.until(
                lambda: not self._status(stack).endswith("_IN_PROGRESS"),
                f"{stack} is deleted",
                self._account.pace.deployment,
            )
            if self._status(stack) == "DELETE_COMPLETE":
                return True
            if attempt + 1 < _TRIES:
                self._waiting.pause(self._waiting.interval)
        raise TimeoutError(f"its state is {self._status(stack)}; the stack's events say why")

    def _status(self, stack: str) -> str:
        return self._aws.cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]

    def _delete_api(self, api: str) -> bool:
        """By its id, or by its name, which the ledger has: the id is not known before it is made."""
        pages = self._aws.apigateway.get_paginator("get_rest_apis").paginate()
        found = [it["id"] for page in pages for it in page["items"] if api in {it["id"], it["name"]}]
        for it in found:
            self._aws.apigateway.delete_rest_api(restApiId=it)
        return bool(found)

    def _delete_queue(self, name: str) -> bool:
        self._aws.sqs.delete_queue(QueueUrl=self._aws.sqs.get_queue_url(QueueName=name)["QueueUrl"])
        return True

    def _delete_secret(self, secret: str) -> bool:
        """Without recovery, so that its name is free and nothing is paid for."""
        if "DeletedDate" in self._aws.secrets.describe_secret(SecretId=secret):
            self._aws.secrets.restore_secret(SecretId=secret)
        self._aws.secrets.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
        return True

    def _schedule_deletion(self, key: str) -> bool:
        state = self._aws.kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"]
        if state in {"PendingDeletion", "PendingReplicaDeletion"}:
            return False
        self._aws.kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=LEAST_DAYS_OF_A_KEY)
        return True

    def _delete_bucket(self, bucket: str) -> bool:
        """Empty it, every version, and delete it; what still writes into it has a few tries to end."""
        for attempt in range(_TRIES):
            for page in self._aws.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
                listed = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
                if listed:
                    named = [{"Key": it["Key"], "VersionId": it["VersionId"]} for it in listed]
                    self._aws.s3.delete_objects(Bucket=bucket, Delete={"Objects": named, "Quiet": True})  # type: ignore[typeddict-item]
            try:
                self._aws.s3.delete_bucket(Bucket=bucket)
            except ClientError as error:
                if error.response["Error"]["Code"] != "BucketNotEmpty" or attempt + 1 == _TRIES:
                    raise
                self._waiting.pause(self._waiting.interval)
            else:
                break
        return True

    def _delete_role(self, role: str) -> bool:
        iam = self._aws.iam
        for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
            iam.detach_role_policy(RoleName=role, PolicyArn=policy["PolicyArn"])
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            iam.delete_role_policy(RoleName=role, PolicyName=name)
        iam.delete_role(RoleName=role)
        return True

    def _delete_record(self, record: str) -> bool:
        zone, _, name = record.partition("/")
        listed = self._aws.route53.list_resource_record_sets(
            HostedZoneId=zone, StartRecordName=name, StartRecordType="CNAME", MaxItems="1"
        )["ResourceRecordSets"]
        found = [it for it in listed if it["Name"].rstrip(".") == name.rstrip(".") and it["Type"] == "CNAME"]
        if found:
            changes = [{"Action": "DELETE", "ResourceRecordSet": it} for it in found]
            self._aws.route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})  # type: ignore[typeddict-item]
        return bool(found)
