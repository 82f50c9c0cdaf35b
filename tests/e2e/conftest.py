"""One local AWS and one deployed stack for the tests of a mode: deploying is the slow part.

IAM is enforced throughout: everything here passes with what the template's roles allow, and nothing more.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from demo import gateway as on_gateway
from demo import sam
from demo.certificates import Held, from_secret
from demo.gateway import architecture
from demo.traffic import send
from demo.waiting import await_condition, await_rotation
from localaws import LocalAws, sealed
from mtls_rotation.contract import layout
from tests.kit import builders, change_sets
from tests.kit.conformance import Chain
from tests.kit.issued import remember_chain
from tests.kit.upstream import Upstream, upstream

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

    from tests.proof.parts.bad_network import Stack

DOMAIN = "api.e2e.example"
ROUTES = "/e2e/routes"
REVOCATION_TTL = 3


@dataclass
class Deployment:
    """A stack on a local AWS, and what tests ask of it."""

    aws: LocalAws
    stack: sam.Stack
    environment: dict[str, str]
    parameters: dict[str, str] = field(default_factory=dict)

    @cached_property
    def secrets(self) -> "SecretsManagerClient":
        return sam.session(self.environment).client("secretsmanager")

    @cached_property
    def s3(self) -> "S3Client":
        return sam.session(self.environment).client("s3")

    @cached_property
    def sqs(self) -> "SQSClient":
        return sam.session(self.environment).client("sqs")

    @cached_property
    def apigateway(self) -> "APIGatewayClient":
        return sam.session(self.environment).client("apigateway")

    @cached_property
    def logs(self) -> "CloudWatchLogsClient":
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
        domain = self.apigateway.get_domain_name(domainName=DOMAIN)
        return domain["mutualTlsAuthentication"]["truststoreVersion"]

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


@pytest.fixture(scope="session")
def built() -> None:
    change_sets.build()


@pytest.fixture(scope="session")
def partner() -> Iterator[Upstream]:
    """A partner's API that asks for client certificates. Its server certificate is by a CA of its own."""
    identity = builders.server_certificate(builders.root("Partner's server CA"))
    with upstream(identity) as server:
        yield server


@pytest.fixture(scope="session")
def gateway(built: None, partner: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The stack with a gateway, its first certificate made, and the partner's API behind its proxy."""
    with LocalAws.start(log_path=log(tmp_path_factory), enforce_iam=True) as aws:
        route = {"upstream": f"{partner.url}/v2", "server_ca": partner.ca, "timeout": 10}
        sam.session(sealed(os.environ, aws.environment())).client("ssm").put_parameter(
            Name=ROUTES, Type="String", Value=json.dumps({"routes": {"billing": route}})
        )
        made = change_sets.deploy_gateway(
            aws,
            "e2e-gateway",
            DOMAIN,
            ProxyRoutesParameter=ROUTES,
            ProxyCallers="both",
            ProxyCertificateCheckSeconds="1",
            ExternalIssuer="enabled",
            RevocationTtlSeconds=str(REVOCATION_TTL),
        )
        deployment = await_first_rotation(Deployment(aws, made.stack, made.environment, made.parameters))
        yield deployment
        remember_what_was_issued(deployment)


@pytest.fixture(scope="session")
def end_to_end(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The stack as it is with no parameter set, on a Secrets Manager whose reads lag."""
    lags: dict[str, Any] = {"consistency_lag": timedelta(seconds=1), "list_lag": timedelta(minutes=5)}
    with LocalAws.start(log_path=log(tmp_path_factory), enforce_iam=True, **lags) as aws:
        environment = sealed(os.environ, aws.environment())
        parameters = {"Architecture": architecture()}
        stack = change_sets.deploy("e2e-plain", parameters, environment)
        deployment = await_first_rotation(Deployment(aws, stack, environment, parameters))
        yield deployment
        remember_what_was_issued(deployment)


@pytest.fixture(scope="session")
def shaky(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Stack"]:
    """A stack and an application that call AWS through a proxy which may spoil calls, requests under way."""
    from tests.proof.parts import bad_network

    with bad_network.deployed(tmp_path_factory.mktemp("shaky"), "e2e-shaky", AnchorOverlapHours="1") as stack:
        yield stack
        remember_what_was_issued(stack.deployment)


def remember_what_was_issued(deployment: Deployment) -> None:
    """Hand every certificate in the stack's bucket to the last test of the run."""

    def read(key: str) -> x509.Certificate:
        body = deployment.s3.get_object(Bucket=deployment.bucket, Key=key)["Body"].read()
        return x509.load_pem_x509_certificate(body)

    for entry in deployment.s3.list_objects_v2(Bucket=deployment.bucket, Prefix=layout.ISSUED).get("Contents", []):
        issued = layout.IssuedKey.parse(entry["Key"])
        assert issued
        anchor = read(layout.managed_anchor_key(issued.anchor))
        remember_chain(Chain(read(entry["Key"]), (), anchor), ours=True)


def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("local-aws") / "local-aws.log"


def await_first_rotation(deployment: Deployment) -> Deployment:
    def is_over() -> bool:
        try:
            value = deployment.value(deployment.client)
        except deployment.secrets.exceptions.ResourceNotFoundException:
            return False  # reads may lag behind the deployment
        return "certificate" in value and "AWSPENDING" not in deployment.labels(deployment.client)

    await_condition(is_over, "the first rotation", 60.0)
    return deployment
