"""A run: its name, where it acts, and what everything that it makes is made by."""

from __future__ import annotations

import io
import json
import secrets
import threading
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from acceptance.ledger import PREFIX, ROLE_PATH, RUN_TAG, UNTIL_TAG, Kind, Ledger, Thing
from acceptance.waiting import Waiting

if TYPE_CHECKING:
    from acceptance.account import Account, Domain

# Until then a run is left alone by others. It takes less than an hour; whoever interrupts it has it clean up at once.
LASTS = timedelta(hours=4)


def fresh_name() -> str:
    """A name that no other run has."""
    return PREFIX + secrets.token_hex(4)


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        name: of which the names of all that it makes begin.
        ledger: where each thing is written down before it is made.
        domain: what the gateway is to be called; `None`: there is to be no gateway.
        template_url: where the packaged template is.
        say: tells whoever watches what happens.
        until: when the run is over at the latest.
    """

    name: str
    account: Account
    ledger: Ledger
    waiting: Waiting
    domain: Domain | None
    template_url: str
    say: Callable[[str], None]
    until: datetime = field(default_factory=lambda: datetime.now(UTC) + LASTS)
    _making: threading.Lock = field(default_factory=threading.Lock)

    @property
    def bucket(self) -> str:
        """The run's own bucket: the code that is deployed, and what probes put there."""
        return f"{self.name}-{self.account.id}"

    @property
    def tags(self) -> dict[str, str]:
        """On everything that takes tags."""
        return {RUN_TAG: self.name, UNTIL_TAG: self.until.isoformat(timespec="seconds")}

    def tag_list(self) -> list[Any]:
        """The same as most services take them."""
        return [{"Key": key, "Value": value} for key, value in self.tags.items()]

    def make_bucket(self) -> None:
        """Make the run's own bucket."""
        s3, region = self.account.clients.s3, self.account.region
        self.ledger.will_make(Thing(Kind.BUCKET, self.bucket))
        if region == "us-east-1":  # which takes no location: it is the default
            s3.create_bucket(Bucket=self.bucket)
        else:
            s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": region})  # type: ignore[typeddict-item]
        s3.put_bucket_tagging(Bucket=self.bucket, Tagging={"TagSet": self.tag_list()})
        s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})

    def make_secret(self, name: str, value: str | None = None, **tags: str) -> str:
        """Make a secret, and return its ARN.

        Args:
            name: the end of its name.
            value: its first value; without one it has no version.
            tags: further tags.
        """
        whole = f"{self.name}-{name}"
        self.ledger.will_make(Thing(Kind.SECRET, whole))
        further: list[Any] = [{"Key": key, "Value": it} for key, it in tags.items()]
        arguments: dict[str, Any] = {} if value is None else {"SecretString": value}
        made = self.account.clients.secrets.create_secret(Name=whole, Tags=[*self.tag_list(), *further], **arguments)
        return made["ARN"]

    def make_role(self, name: str, *statements: Mapping[str, Any], trust: Mapping[str, Any] | None = None) -> str:
        """Make a role, and return its ARN.

        Args:
            name: the end of its name.
            statements: what it may do.
            trust: who may assume it; whoever runs this, if left out.
        """
        whole = f"{self.name}-{name}"
        self.ledger.will_make(Thing(Kind.ROLE, whole))
        assumed: dict[str, Any] = {"Effect": "Allow", "Action": "sts:AssumeRole"}
        assumed |= {"Principal": trust} if trust else self._whoever_runs_this()
        iam = self.account.clients.iam
        arn = iam.create_role(
            RoleName=whole,
            Path=ROLE_PATH,
            AssumeRolePolicyDocument=_policy(assumed),
            Tags=self.tag_list(),
        )["Role"]["Arn"]
        iam.put_role_policy(RoleName=whole, PolicyName="probe", PolicyDocument=_policy(*statements))
        return arn

    def _whoever_runs_this(self) -> dict[str, Any]:
        """Of a statement of trust: not all of the account that may assume roles, but these credentials, renewed or not.

        https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-userid
        """
        user = self.account.clients.sts.get_caller_identity()["UserId"].partition(":")[0]
        return {
            "Principal": {"AWS": f"arn:{self.account.partition}:iam::{self.account.id}:root"},
            "Condition": {"StringLike": {"aws:userid": [user, f"{user}:*"]}},
        }

    def make_function(self, name: str, code: str, role: str, **variables: str) -> str:
        """Make a Lambda function of a few lines, and return its ARN. A role that is new is waited for.

        Args:
            name: the end of its name.
            code: its module, with a `handler`.
            role: the ARN of its role, which Lambda may assume.
            variables: of its environment.
        """
        whole, archive = f"{self.name}-{name}", io.BytesIO()
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("app.py", code)
        self.ledger.will_make(Thing(Kind.FUNCTION, whole))
        # Lambda makes it when the function first writes.
        self.ledger.will_make(Thing(Kind.LOG_GROUP, f"/aws/lambda/{whole}"))
        made: list[str] = []

        def is_taken() -> bool:
            try:
                made.append(
                    self.account.clients.functions.create_function(
                        FunctionName=whole,
                        Runtime="python3.13",
                        Role=role,
                        Handler="app.handler",
                        Code={"ZipFile": archive.getvalue()},
                        Timeout=30,
                        Environment={"Variables": variables},
                        Tags=self.tags,
                    )["FunctionArn"]
                )
            except ClientError as error:
                # "The role defined for the function cannot be assumed by Lambda."
                if error.response["Error"]["Code"] != "InvalidParameterValueException":
                    raise
            return bool(made)

        self.waiting.until(is_taken, f"Lambda takes the role of {whole}", self.account.pace.lag)
        self.account.clients.functions.get_waiter("function_active_v2").wait(FunctionName=whole)
        return made[0]

    def make_queue(self, name: str) -> tuple[str, str]:
        """Make a queue, and return its URL and its ARN."""
        whole = f"{self.name}-{name}"
        self.ledger.will_make(Thing(Kind.QUEUE, whole))
        sqs = self.account.clients.sqs
        url = sqs.create_queue(QueueName=whole, tags=self.tags)["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        return url, attributes["QueueArn"]

    def put(self, key: str, body: str) -> str:
        """Put an object into the run's own bucket, and return its version."""
        return self.account.clients.s3.put_object(Bucket=self.bucket, Key=key, Body=body.encode())["VersionId"]

    def make_key(self, **arguments: Any) -> str:
        """Make a KMS key, and return its id.

        Its id is not known before, so its tag and its description find it after a crash.
        """
        tags = [{"TagKey": key, "TagValue": value} for key, value in self.tags.items()]
        with self._making:
            made = self.account.clients.kms.create_key(
                Tags=tags,  # type: ignore[arg-type]
                Description=f"Of {self.name}.",
                **arguments,
            )["KeyMetadata"]["KeyId"]
            self.ledger.will_make(Thing(Kind.KEY, made))
        return made

    def assumed(self, role: str) -> Callable[[str], Any]:
        """Clients by a role's credentials, as soon as it may be assumed: IAM is late."""
        found: list[Callable[[str], Any]] = []

        def may_be() -> bool:
            try:
                found.append(self.account.as_role(role))
            except ClientError as error:
                if error.response["Error"]["Code"] != "AccessDenied":
                    raise
            return bool(found)

        self.waiting.until(may_be, f"{role} may be assumed", self.account.pace.lag)
        return found[0]


def _policy(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
