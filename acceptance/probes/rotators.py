"""Rotation functions of a few lines, which write down what Secrets Manager asks of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from acceptance.run import Run

# What it is asked, and what the version holds, as an object of its own under the name of the function.
CODE = """
import json, os, time
import boto3

def handler(event, context):
    secrets, s3 = boto3.client("secretsmanager"), boto3.client("s3")
    seen = {"at": time.time(), "step": event["Step"], "version": event["ClientRequestToken"]}
    try:
        answer = secrets.get_secret_value(SecretId=event["SecretId"], VersionId=event["ClientRequestToken"])
        seen["value"] = answer["SecretString"]
        seen["labels"] = answer["VersionStages"]
    except secrets.exceptions.ClientError as error:
        seen["error"] = error.response["Error"]["Code"]
    seen["stages"] = secrets.describe_secret(SecretId=event["SecretId"]).get("VersionIdsToStages", {})
    key = os.environ["PREFIX"] + str(time.time_ns())
    s3.put_object(Bucket=os.environ["BUCKET"], Key=key, Body=json.dumps(seen).encode())
    if os.environ["FAILS"] == "yes":
        raise RuntimeError("as it is meant to")
"""


@dataclass(frozen=True)
class Rotator:
    """A rotation function."""

    run: Run
    arn: str
    prefix: str

    @classmethod
    def make(cls, run: Run, name: str, *, fails: bool) -> Rotator:
        """Make one that Secrets Manager may invoke.

        Args:
            run: the run.
            name: the end of its name.
            fails: whether each of its steps fails.
        """
        start = f"arn:{run.account.partition}:secretsmanager:{run.account.region}:{run.account.id}:secret:{run.name}-*"
        role = run.make_role(
            name,
            {
                "Effect": "Allow",
                "Action": ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"],
                "Resource": start,
            },
            {
                "Effect": "Allow",
                "Action": "s3:PutObject",
                "Resource": f"arn:{run.account.partition}:s3:::{run.bucket}/{name}/*",
            },
            trust={"Service": "lambda.amazonaws.com"},
        )
        arn = run.make_function(name, CODE, role, BUCKET=run.bucket, PREFIX=f"{name}/", FAILS="yes" if fails else "no")
        run.account.clients.functions.add_permission(
            FunctionName=arn,
            StatementId="SecretsManager",
            Action="lambda:InvokeFunction",
            Principal="secretsmanager.amazonaws.com",
            SourceAccount=run.account.id,
        )
        return cls(run, arn, f"{name}/")

    def rotate(self, secret: str, *, immediately: bool) -> None:
        """Have it rotate a secret: Secrets Manager is told again until it may invoke the function."""

        def is_taken() -> bool:
            try:
                self.run.account.clients.secrets.rotate_secret(
                    SecretId=secret,
                    RotationLambdaARN=self.arn,
                    RotationRules={"AutomaticallyAfterDays": 100},
                    RotateImmediately=immediately,
                )
            except ClientError as error:
                if error.response["Error"]["Code"] not in {"AccessDeniedException", "InvalidRequestException"}:
                    raise
                return False
            return True

        self.run.waiting.until(is_taken, f"{self.arn} may be invoked", self.run.account.pace.lag)

    def seen(self) -> list[dict[str, Any]]:
        """What it has been asked so far."""
        s3 = self.run.account.clients.s3
        listed = s3.list_objects_v2(Bucket=self.run.bucket, Prefix=self.prefix).get("Contents", [])
        bodies = [s3.get_object(Bucket=self.run.bucket, Key=it["Key"])["Body"].read() for it in listed]
        return [json.loads(it) for it in bodies]
