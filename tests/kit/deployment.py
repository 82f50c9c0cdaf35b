"""A deployed stack, and what tests ask of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cryptography import x509

from demo import gateway as on_gateway
from demo import sam
from demo.certificates import Held, from_secret
from demo.traffic import Traffic, send
from demo.waiting import await_condition, await_rotation
from localaws import LocalAws
from mtls_rotation.contract import layout
from tests.kit import change_sets

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

DOMAIN = "api.e2e.example"
REQUESTS_PER_SECOND = 20.0


@dataclass
class Deployment:
    """A stack on a local AWS, and what tests ask of it."""

    aws: LocalAws
    stack: sam.Stack
    environment: dict[str, str]
    parameters: dict[str, str] = field(default_factory=dict)

    @cached_property
    def secrets(self) -> SecretsManagerClient:
        return sam.session(self.environment).client("secretsmanager")

    @cached_property
    def s3(self) -> S3Client:
        return sam.session(self.environment).client("s3")

    @cached_property
    def sqs(self) -> SQSClient:
        return sam.session(self.environment).client("sqs")

    @cached_property
    def apigateway(self) -> APIGatewayClient:
        return sam.session(self.environment).client("apigateway")

    @cached_property
    def logs(self) -> CloudWatchLogsClient:
        return sam.session(self.environment).client("logs")

    @property
    def client(self) -> str:
        return self.stack.outputs["ClientSecret"]

    @property
    def ca(self) -> str:
        return self.stack.outputs["CaSecret"]

    @property
    def bucket(self) -> str:
        return self.stack.outputs["BucketName"]

    @property
    def url(self) -> str:
        return f"https://localhost:{self.aws.front_door.port}/"

    def update(self, deploying: on_gateway.Deploying = change_sets.deploy, /, **parameters: str) -> None:
        """Deploy again with parameters changed."""
        self.stack = deploying(self.stack.name, self.parameters | parameters, self.environment)

    def delete(self) -> None:
        """Delete the stack, and wait until it is gone."""
        stacks = sam.session(self.environment).client("cloudformation")
        name = stacks.describe_stacks(StackName=self.stack.name)["Stacks"][0]["StackId"]
        stacks.delete_stack(StackName=name)

        def status() -> str:
            return stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]

        await_condition(lambda: not status().endswith("IN_PROGRESS"), "the stack is deleted", 60.0)
        reasons = [it.get("ResourceStatusReason") for it in stacks.describe_stack_events(StackName=name)["StackEvents"]]
        assert status() == "DELETE_COMPLETE", reasons[:10]

    def labels(self, secret: str) -> dict[str, str]:
        """Staging label → version id."""
        stages = self.secrets.describe_secret(SecretId=secret)["VersionIdsToStages"]
        return {label: version for version, labels in stages.items() for label in labels}

    def value(self, secret: str, label: str = "AWSCURRENT") -> dict[str, Any]:
        document: dict[str, Any] = json.loads(
            self.secrets.get_secret_value(SecretId=secret, VersionStage=label)["SecretString"]
        )
        return document

    def held(self, label: str = "AWSCURRENT") -> Held:
        """The client certificate at a label, as an application holds it."""
        return from_secret(json.dumps(self.value(self.client, label)), self.aws.front_door.server_ca_pem)

    def traffic(self) -> Traffic:
        """Applications that send requests with the client's certificate."""
        server_ca = self.aws.front_door.server_ca_pem
        return Traffic(self.secrets, self.client, self.url, server_ca, REQUESTS_PER_SECOND)

    def rotate(self, secret: str, within: float) -> str:
        """Rotate, wait until it is done, and return the new version's id."""
        version: str = self.secrets.rotate_secret(SecretId=secret)["VersionId"]
        await_rotation(self.aws, version, within)
        return version

    def await_rest(self, secret: str) -> None:
        """Wait until no rotation of the secret is under way."""
        arn = self.secrets.describe_secret(SecretId=secret)["ARN"]
        await_condition(
            lambda: all(run.finished_at for run in self.aws.rotations() if run.secret_arn == arn), "rest", 30.0
        )

    def deployed_truststore(self) -> str:
        """The version that the domain names; empty until the first sync after the deployment has told it one."""
        domain = self.apigateway.get_domain_name(domainName=DOMAIN)
        return domain["mutualTlsAuthentication"].get("truststoreVersion", "")

    def published(self) -> tuple[x509.Certificate, ...]:
        """The CAs in the truststore: what a partner who follows our CAs trusts."""
        body = self.s3.get_object(Bucket=self.bucket, Key=layout.TRUSTSTORE)["Body"].read()
        return tuple(x509.load_pem_x509_certificates(body))

    def access_log(self) -> list[dict[str, str]]:
        """The lines of the gateway's access log so far."""
        group, lines = self.stack.outputs["GatewayLogs"], []
        for stream in self.logs.describe_log_streams(logGroupName=group)["logStreams"]:
            pages = self.logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])
            # API Gateway escapes nothing, so a line about a path with a backslash is no JSON.
            lines += [json.loads(event["message"]) for event in pages["events"] if "\\" not in event["message"]]
        return lines

    def accepts(self, held: Held) -> bool:
        return not send(self.url, held).failure


def await_first_rotation(deployment: Deployment) -> Deployment:
    def is_over() -> bool:
        try:
            value = deployment.value(deployment.client)
        except deployment.secrets.exceptions.ResourceNotFoundException:
            return False  # reads may lag behind the deployment
        return "certificate" in value and "AWSPENDING" not in deployment.labels(deployment.client)

    await_condition(is_over, "the first rotation", 60.0)
    if deployment.parameters.get("DomainName"):
        await_condition(lambda: bool(deployment.deployed_truststore()), "the sync has told the domain", 60.0)
    return deployment
