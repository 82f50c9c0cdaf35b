"""A deployed stack, those who attack it, and whether anything has changed by it."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError
from cryptography import x509

from demo import sam
from demo.waiting import await_condition
from mtls_rotation.contract import layout
from mtls_rotation.contract.events import SIGNED_CERTIFICATE_REJECTED
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import profile
from mtls_rotation.pki.request import CertificateRequest
from tests.kit import builders

if TYPE_CHECKING:
    from tests.kit.deployment import Deployment

ACCOUNT, ANOTHER_ACCOUNT = "123456789012", "999999999999"
STACK_TAG = "mtls-rotation:stack"
# Keys that tell of what was tried and of the weather, not of what became of it.
_NOTES = (layout.SYNC_NOTES, layout.SIGNED)
_numbers = itertools.count(1)


@dataclass
class Scene:
    """What an attack has before it.

    Attributes:
        uploads: the keys that attackers wrote by a right of theirs; they count as no change.
        rejected: the uploads that were said to be rejected.
    """

    deployment: Deployment
    uploads: set[str] = field(default_factory=set)
    rejected: list[str] = field(default_factory=list)

    def client(self, service: str) -> Any:
        """As the account, which sets the scene."""
        return sam.session(self.deployment.environment).client(service)  # type: ignore[call-overload]

    def by(self, key_id: str, password: str, token: str | None = None) -> Callable[[str], Any]:
        """As whoever has these credentials."""
        session: Any = boto3.Session(key_id, password, token, region_name="us-east-1")
        return lambda service: session.client(service, endpoint_url=self.deployment.aws.endpoint_url)

    def user(self, *statements: tuple[str | list[str], str]) -> Callable[[str], Any]:
        """As a user of this account who may do what is named, and nothing else."""
        iam, name = self.client("iam"), f"stranger-{next(_numbers)}"
        iam.create_user(UserName=name)
        granted = [{"Effect": "Allow", "Action": action, "Resource": on} for action, on in statements]
        document = json.dumps({"Version": "2012-10-17", "Statement": granted})
        if granted:
            iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return self.by(key["AccessKeyId"], key["SecretAccessKey"])

    def role(self, logical_id: str) -> Callable[[str], Any]:
        """As one of the stack's functions: with its role's own credentials."""
        roles = self.client("iam").get_paginator("list_roles").paginate()
        start = f"{self.deployment.stack.name}-{logical_id}-"
        (arn,) = [it["Arn"] for page in roles for it in page["Roles"] if it["RoleName"].startswith(start)]
        given = self.client("sts").assume_role(RoleArn=arn, RoleSessionName="attack")["Credentials"]
        return self.by(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])

    def another_account(self) -> Callable[[str], Any]:
        """As the root of another account, who may do anything there."""
        return self.by(ANOTHER_ACCOUNT, "any")

    @property
    def rotate_function(self) -> str:
        return self.deployment.stack.outputs["RotateFunction"]

    @property
    def bucket_arn(self) -> str:
        return f"arn:aws:s3:::{self.deployment.bucket}"

    def make(self, value: dict[str, Any], *tags: tuple[str, str], by: str = "wrong-hands") -> str:
        """A secret under a new name. Its ARN."""
        made = self.deployment.secrets.create_secret(
            Name=f"{by}/{next(_numbers)}",
            SecretString=json.dumps(value),
            Tags=[{"Key": key, "Value": of} for key, of in tags],
        )
        return made["ARN"]

    def rotate(self, secret: str) -> str:
        """Begin its first rotation, and return the version."""
        rules: Any = {"ScheduleExpression": "rate(10 days)"}
        answer = self.deployment.secrets.rotate_secret(
            SecretId=secret, RotationLambdaARN=self.rotate_function, RotationRules=rules
        )
        return answer["VersionId"]

    def failure(self, secret: str, *, within: float = 30.0) -> str:
        """What a secret's last rotation ended with; it waits until there is one that has ended badly."""

        def errors() -> list[str]:
            return [it.error for it in self.deployment.aws.rotations() if it.secret_arn == secret and it.error]

        await_condition(lambda: bool(errors()), f"the rotation of {secret} fails", within)
        self.deployment.secrets.cancel_rotate_secret(SecretId=secret)
        self.deployment.await_rest(secret)
        return errors()[-1]

    def put(self, key: str, body: str | bytes, by: Callable[[str], Any] | None = None) -> None:
        """Upload, as whoever may."""
        data = body.encode() if isinstance(body, str) else body
        (by or self.client)("s3").put_object(Bucket=self.deployment.bucket, Key=key, Body=data)
        self.uploads.add(key)

    def tidy(self, prefix: str) -> None:
        """Take away what attackers uploaded under a prefix."""
        for key in [it for it in self.uploads if it.startswith(prefix)]:
            self.deployment.s3.delete_object(Bucket=self.deployment.bucket, Key=key)

    def function(self, logical_id: str) -> str:
        """The name of one of the stack's functions."""
        functions = self.client("lambda").list_functions()["Functions"]
        start = f"{self.deployment.stack.name}-{logical_id}-"
        (name,) = [it["FunctionName"] for it in functions if it["FunctionName"].startswith(start)]
        return str(name)

    def logged(self, function: str, text: str) -> bool:
        """Whether one of the stack's functions has written a text into its log."""
        logs = self.client("logs")
        start = f"/aws/cloudformation/{self.deployment.stack.name}/{function}Logs"
        (group,) = [it["logGroupName"] for it in logs.describe_log_groups(logGroupNamePrefix=start)["logGroups"]]
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
        return any(text in event["message"] for page in pages for event in page["events"])

    def heard(self, key: str) -> bool:
        """Whether an uploaded object was rejected, by what was put on the bus."""
        while messages := self._sqs.receive_message(QueueUrl=self._rejections, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self._sqs.delete_message(QueueUrl=self._rejections, ReceiptHandle=message["ReceiptHandle"])
                self.rejected.append(json.loads(message["Body"])["detail"]["uri"])
        return f"s3://{self.deployment.bucket}/{key}" in self.rejected

    @cached_property
    def _sqs(self) -> Any:
        return self.client("sqs")

    @cached_property
    def _rejections(self) -> str:
        """A queue that hears of certificates that were not taken."""
        name, events = "rejections", self.client("events")
        url: str = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"
        pattern = {"source": ["mtls-rotation"], "detail-type": [SIGNED_CERTIFICATE_REJECTED]}
        rule = events.put_rule(Name=name, EventPattern=json.dumps(pattern))["RuleArn"]
        lets = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
        of_the_rule = {"Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": rule}}}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [lets | of_the_rule]})
        self._sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
        return url

    # what there is ----------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Every secret with its labels and values, every object but notes and uploads, and the domain's truststore."""
        found: dict[str, Any] = {}
        for page in self.deployment.secrets.get_paginator("list_secrets").paginate():
            for entry in page["SecretList"]:
                found[entry["ARN"]] = self._values(entry["ARN"])
        for listed in self.deployment.s3.get_paginator("list_objects_v2").paginate(Bucket=self.deployment.bucket):
            for it in listed.get("Contents", []):
                if not it["Key"].startswith(_NOTES) and it["Key"] not in self.uploads:
                    found[it["Key"]] = it["ETag"]
        found["truststoreVersion"] = self.deployment.deployed_truststore()
        return found

    def _values(self, arn: str) -> dict[str, str]:
        """Label → version and value, in a form that may be shown: those that have a value."""
        labels = {}
        for label, version in self.deployment.labels(arn).items():
            try:
                value = self.deployment.secrets.get_secret_value(SecretId=arn, VersionId=version)["SecretString"]
            except ClientError:  # AWSPENDING on a version without a value
                continue
            labels[label] = f"{version} {hashlib.sha256(value.encode()).hexdigest()[:12]}"
        return labels

    # a CA whose key is in KMS -----------------------------------------------------------------------------------------

    @cached_property
    def key_of_a_ca(self) -> str:
        """The KMS key of a CA of the stack's."""
        definition = builders.ca_definition(issuer={"type": "kms"}, request={"common_name": "In KMS"})
        secret = self.make(definition, (STACK_TAG, self.deployment.stack.name))
        self.rotate(secret)
        await_condition(lambda: "key_id" in self.deployment.value(secret), "the CA is made", 60.0)
        self.deployment.await_rest(secret)
        return str(self.deployment.value(secret)["key_id"])

    # a partner who signs ----------------------------------------------------------------------------------------------

    @cached_property
    def waiting(self) -> Waiting:
        """A secret that waits for somebody else's signature."""
        request = {"common_name": "billing", "validity_days": 30, "dns_names": ["billing.example.com"]}
        definition = builders.client_definition(issuer={"type": "external"}, request=request)
        secret = self.make(definition, (STACK_TAG, self.deployment.stack.name))
        assert self._rejections
        self.rotate(secret)
        name = self.deployment.secrets.describe_secret(SecretId=secret)["Name"]

        def keys() -> list[str]:
            answer = self.deployment.s3.list_objects_v2(Bucket=self.deployment.bucket, Prefix=layout.REQUESTED)
            return [it["Key"] for it in answer.get("Contents", []) if it["Key"].endswith(f"/{name}.csr")]

        await_condition(lambda: bool(keys()), "the signing request", 30.0)
        self.deployment.await_rest(secret)
        (key,) = keys()
        body = self.deployment.s3.get_object(Bucket=self.deployment.bucket, Key=key)["Body"].read()
        return Waiting(secret, name, CertificateRequest(**request), x509.load_pem_x509_csr(body))


@dataclass(frozen=True)
class Waiting:
    """A secret that waits for a signature, and what is to be signed."""

    secret: str
    name: str
    request: CertificateRequest
    csr: x509.CertificateSigningRequest

    def signed(self, ca: pki.CertifiedKey, **changes: Any) -> x509.Certificate:
        """What a CA makes of it, with parts of the request changed."""
        request = self.request.model_copy(update=changes)
        return profile.issue_leaf(request, self.csr.public_key(), ca.certificate, ca.key, builders.NOW)


def attempt(scene: Scene, attack: Callable[[Scene], None]) -> str | None:
    """Try an attack: None where it was refused and nothing has changed, else what went wrong."""
    before = scene.snapshot()
    try:
        attack(scene)
    except AssertionError as error:
        return f"not refused: {error}"
    after = scene.snapshot()
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} - scene.uploads
    made = {key for key in changed if key.startswith("arn:") and key not in before}
    return f"changed: {', '.join(sorted(changed - made))}" if changed - made else None
