"""What there is of runs in an account: by their tags, and what their stacks will leave behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from acceptance.ledger import PREFIX, RECORD_TAG, ROLE_PATH, RUN, RUN_TAG, UNTIL_TAG, Kind, Thing
from mtls_rotation.contract.tags import MAKER_TAG, STACK_TAG

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import StackTypeDef

    from acceptance.account import Account

# What a stack leaves behind by its deletion policies, and what each is removed as.
LEFT_BY_STACKS = {
    "AWS::S3::Bucket": Kind.BUCKET,
    "AWS::SecretsManager::Secret": Kind.SECRET,
    "AWS::KMS::Key": Kind.KEY,
    "AWS::Logs::LogGroup": Kind.LOG_GROUP,
    "AWS::IAM::Role": Kind.ROLE,
}
# The product's tags that name the stack: of secrets, and of the KMS keys that it makes.
_OF_STACKS = (STACK_TAG, MAKER_TAG)
BY_ARN = {
    ("s3", ""): Kind.BUCKET,
    ("secretsmanager", "secret"): Kind.SECRET,
    ("kms", "key"): Kind.KEY,
    ("lambda", "function"): Kind.FUNCTION,
    ("logs", "log-group"): Kind.LOG_GROUP,
    ("sqs", ""): Kind.QUEUE,
}
GONE = {
    "AWS.SimpleQueueService.NonExistentQueue",
    "NoSuchBucket",
    "NoSuchEntity",
    "NoSuchEntityException",
    "NotFoundException",
    "QueueDoesNotExist",
    "ResourceNotFoundException",
    "ValidationError",
}


class Inventory:
    """Looks for what runs have made."""

    def __init__(self, account: Account) -> None:
        self._aws = account.clients

    def runs(self) -> dict[str, datetime]:
        """The runs that something is there of, and until when each may go on."""
        found: dict[str, datetime] = {}
        for thing, tags in self._tagged():
            if RUN.fullmatch(run := tags.get(RUN_TAG, "")) and self._names(thing, run):
                until = datetime.fromisoformat(tags[UNTIL_TAG]) if tags.get(UNTIL_TAG) else datetime.now(UTC)
                found[run] = max(until, found.get(run, until))
        return found

    def of(self, run: str) -> list[Thing]:
        """Everything that bears a run's tag, or the product's tag with the name of one of its stacks, and its name.

        Neither is enough by itself: who may tag a thing need not be who may delete it.
        """
        found = [
            thing
            for thing, tags in self._tagged()
            if (tags.get(RUN_TAG) == run or any(tags.get(it, "").startswith(f"{run}-") for it in _OF_STACKS))
            and self._names(thing, run)
        ]
        return list(dict.fromkeys(found))

    def _names(self, thing: Thing, run: str) -> bool:
        """Whether a thing is named after a run; of a key, which has no name, whether its description is."""
        if thing.kind is not Kind.KEY:
            return run in thing.id
        try:
            return run in self._aws.kms.describe_key(KeyId=thing.id)["KeyMetadata"].get("Description", "")
        except ClientError as error:
            if is_gone(error):
                return False
            raise

    def _tagged(self) -> Iterator[tuple[Thing, dict[str, str]]]:
        yield from ((Thing(Kind.STACK, it["StackId"]), _tags(it)) for it in self._stacks())
        yield from ((thing, tags) for arn, tags in self._resources() for thing in _by_arn(arn))
        yield from ((Thing(Kind.BUCKET, name), tags) for name, tags in self._buckets())
        yield from ((Thing(Kind.ROLE, name), tags) for name, tags in self._roles())

    def _stacks(self) -> Iterator[StackTypeDef]:
        for page in self._aws.cloudformation.get_paginator("describe_stacks").paginate():
            yield from (it for it in page["Stacks"] if it["StackStatus"] != "DELETE_COMPLETE")

    def _resources(self) -> Iterator[tuple[str, dict[str, str]]]:
        """What bears one of the tags: what the tagging API lists, and secrets."""
        for key in (RUN_TAG, *_OF_STACKS):
            for page in self._aws.tagging.get_paginator("get_resources").paginate(TagFilters=[{"Key": key}]):
                for it in page["ResourceTagMappingList"]:
                    if not self._is_a_key_that_goes(it["ResourceARN"]):
                        yield it["ResourceARN"], {tag["Key"]: tag["Value"] for tag in it["Tags"]}
        yield from self._secrets()

    def _secrets(self) -> Iterator[tuple[str, dict[str, str]]]:
        """By Secrets Manager itself, which also lists those that are to be deleted."""
        pages = self._aws.secrets.get_paginator("list_secrets").paginate(
            Filters=[{"Key": "tag-key", "Values": [RUN_TAG, STACK_TAG]}], IncludePlannedDeletion=True
        )
        for it in (it for page in pages for it in page["SecretList"]):
            yield it["ARN"], {tag["Key"]: tag["Value"] for tag in it.get("Tags", [])}

    def _is_a_key_that_goes(self, arn: str) -> bool:
        """A KMS key that is to be deleted keeps its tags until it is, which takes days."""
        if not arn.startswith("arn:") or arn.split(":")[2] != "kms":
            return False
        try:
            state = self._aws.kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"]
        except ClientError:
            return True
        return state == "PendingDeletion"

    def _buckets(self) -> Iterator[tuple[str, dict[str, str]]]:
        for bucket in self._aws.s3.list_buckets()["Buckets"]:
            if bucket["Name"].startswith(PREFIX):
                tags: dict[str, str] = {}
                with suppress(ClientError):  # it has no tags, or is in another region
                    tags = {
                        it["Key"]: it["Value"]
                        for it in self._aws.s3.get_bucket_tagging(Bucket=bucket["Name"])["TagSet"]
                    }
                yield bucket["Name"], tags

    def _roles(self) -> Iterator[tuple[str, dict[str, str]]]:
        for page in self._aws.iam.get_paginator("list_roles").paginate(PathPrefix=ROLE_PATH):
            for role in page["Roles"]:
                listed = self._aws.iam.list_role_tags(RoleName=role["RoleName"])["Tags"]
                yield role["RoleName"], {it["Key"]: it["Value"] for it in listed}

    def left_by(self, thing: Thing) -> list[Thing]:
        """What is there beside it when it is gone.

        Of a stack what its policies keep, its CAs' keys, and a record in DNS; of a function its log.
        """
        if thing.kind is Kind.FUNCTION:
            return [Thing(Kind.LOG_GROUP, f"/aws/lambda/{thing.id}")]
        if thing.kind is not Kind.STACK:
            return []
        try:
            (stack,) = self._aws.cloudformation.describe_stacks(StackName=thing.id)["Stacks"]
            pages = self._aws.cloudformation.get_paginator("list_stack_resources").paginate(StackName=thing.id)
            resources = [it for page in pages for it in page["StackResourceSummaries"]]
        except ClientError as error:
            if is_gone(error):
                return []
            raise
        found = [
            Thing(LEFT_BY_STACKS[it["ResourceType"]], it["PhysicalResourceId"])
            for it in resources
            if it["ResourceType"] in LEFT_BY_STACKS and it.get("PhysicalResourceId")
        ]
        run = RUN.match(stack["StackName"])
        for arn, tags in self._resources():
            if run and stack["StackName"] in map(tags.get, _OF_STACKS):
                found += (it for it in _by_arn(arn) if self._names(it, run.group()))
        if zone := _tags(stack).get(RECORD_TAG):
            for it in resources:
                if it["ResourceType"] == "AWS::CertificateManager::Certificate" and it.get("PhysicalResourceId"):
                    found += self._validation_records(zone, it["PhysicalResourceId"])
        return list(dict.fromkeys(found))

    def _validation_records(self, zone: str, certificate: str) -> list[Thing]:
        """CloudFormation makes the record by which ACM validates a certificate, and does not delete it.

        https://docs.aws.amazon.com/acm/latest/userguide/dns-validation.html
        """
        options = self._aws.acm.describe_certificate(CertificateArn=certificate)["Certificate"]
        return [
            Thing(Kind.RECORD, f"{zone}/{it['ResourceRecord']['Name']}")
            for it in options.get("DomainValidationOptions", [])
            if "ResourceRecord" in it
        ]


def _tags(stack: StackTypeDef) -> dict[str, str]:
    return {it["Key"]: it["Value"] for it in stack.get("Tags", [])}


def _by_arn(arn: str) -> list[Thing]:
    """What an ARN is of, if it is of a kind that is removed by itself."""
    _, _, service, _, _, resource = arn.split(":", 5)
    kind, _, name = resource.replace(":", "/", 1).partition("/")
    if service == "apigateway":
        kind, _, name = resource.removeprefix("/").partition("/")
        return [Thing(Kind.API, name)] if kind == "restapis" and "/" not in name else []
    if service in {"s3", "sqs"}:
        return [Thing(BY_ARN[service, ""], resource)]
    if (found := BY_ARN.get((service, kind))) is None:
        return []
    if found is Kind.LOG_GROUP:
        return [Thing(found, name.removesuffix(":*"))]
    return [Thing(found, arn)]


def is_gone(error: ClientError) -> bool:
    """Whether an error says that there is no such thing."""
    code, said = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    return code in GONE and (code != "ValidationError" or "does not exist" in said)
