from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config

from localaws import LocalAws
from tests.integration.localaws.support import Certificate, make, wait_until, zipped

# Does what a rotation function does; a tag `fail` names the step that is to go wrong.
_ROTATOR = """
import json, boto3
sm = boto3.client("secretsmanager")
def handler(event, context):
    secret, token, step = event["SecretId"], event["ClientRequestToken"], event["Step"]
    described = sm.describe_secret(SecretId=secret)
    tags = {t["Key"]: t["Value"] for t in described.get("Tags", [])}
    if tags.get("fail") == step:
        raise RuntimeError("told to fail")
    if step == "createSecret":
        try:
            sm.get_secret_value(SecretId=secret, VersionId=token, VersionStage="AWSPENDING")
        except sm.exceptions.ResourceNotFoundException:
            sm.put_secret_value(SecretId=secret, ClientRequestToken=token, VersionStages=["AWSPENDING"],
                                RotationToken=event["RotationToken"], SecretString=json.dumps(event))
    if step == "finishSecret":
        current = [v for v, s in described["VersionIdsToStages"].items() if "AWSCURRENT" in s]
        source = {"RemoveFromVersionId": current[0]} if current else {}
        sm.update_secret_version_stage(SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=token, **source)
"""
_ECHO = """
import json
def handler(event, context):
    return {"statusCode": 200, "body": json.dumps(event["requestContext"])}
"""
HELLO = '{"message": "Hello, mTLS!"}'

type Client = Callable[[str], Any]


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    log = tmp_path_factory.mktemp("localaws") / "local-aws.log"
    with LocalAws.start(
        log_path=log,
        domain_update_time=timedelta(seconds=0.3),
        domain_update_interval=timedelta(0),
        rotation_retry_backoff=timedelta(seconds=0.2),
    ) as running:
        yield running


@pytest.fixture
def settings(aws: LocalAws) -> Iterator[Callable[..., object]]:
    """Change settings for one test."""
    before = aws.configure()
    yield aws.configure
    aws.configure(**{k: v for k, v in before.__dict__.items() if k != "enforce_iam"})


@pytest.fixture(scope="session")
def client(aws: LocalAws) -> Client:
    names = aws.environment()
    session: Any = boto3.Session(
        names["AWS_ACCESS_KEY_ID"], names["AWS_SECRET_ACCESS_KEY"], region_name=names["AWS_REGION"]
    )
    once = Config(retries={"max_attempts": 0})

    def connect(service: str) -> Any:
        return session.client(service, endpoint_url=aws.endpoint_url, config=once)

    return connect


@pytest.fixture(scope="session")
def secrets(client: Client) -> Any:
    return client("secretsmanager")


@pytest.fixture(scope="session")
def gateway(client: Client) -> Any:
    return client("apigateway")


@pytest.fixture(scope="session")
def make_function(client: Client) -> Callable[..., str]:
    functions = client("lambda")

    def create(source: str, principal: str | None = None, **permission: str) -> str:
        name = f"f-{uuid.uuid4().hex[:8]}"
        arn: str = functions.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Handler="app.handler",
            Timeout=20,
            Role="arn:aws:iam::123456789012:role/any",
            Code={"ZipFile": zipped(source)},
        )["FunctionArn"]
        if principal is not None:
            functions.add_permission(
                FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal=principal, **permission
            )
        return arn

    return create


@pytest.fixture(scope="session")
def rotator(make_function: Callable[..., str]) -> str:
    return make_function(_ROTATOR, "secretsmanager.amazonaws.com")


@pytest.fixture
def secret(secrets: Any) -> str:
    arn: str = secrets.create_secret(Name=f"s-{uuid.uuid4().hex[:8]}", SecretString="first")["ARN"]
    return arn


@pytest.fixture
def runs_of(aws: LocalAws) -> Callable[..., Any]:
    """Wait until a secret has so many finished rotation runs, and return them."""

    def finished(arn: str, count: int = 1) -> Any:
        def enough() -> Any:
            runs = [run for run in aws.rotations() if run.secret_arn == arn and run.finished_at is not None]
            return runs if len(runs) >= count else None

        return wait_until(enough)

    return finished


@pytest.fixture(scope="session")
def ca() -> Certificate:
    return make("first CA", ca=True)


@pytest.fixture(scope="session")
def truststores(client: Client) -> Callable[..., tuple[str, str]]:
    """Put a truststore object and return its URI and version."""
    s3 = client("s3")
    s3.create_bucket(Bucket="truststores")
    s3.put_bucket_versioning(Bucket="truststores", VersioningConfiguration={"Status": "Enabled"})

    def put(*certificates: Certificate | str, key: str | None = None) -> tuple[str, str]:
        key = key or f"{uuid.uuid4().hex}.pem"
        body = "".join(c if isinstance(c, str) else c.pem for c in certificates)
        version: str = s3.put_object(Bucket="truststores", Key=key, Body=body.encode())["VersionId"]
        return f"s3://truststores/{key}", version

    return put


@pytest.fixture(scope="session")
def api_id(client: Client, gateway: Any, make_function: Callable[..., str]) -> str:
    """A REST API: GET / is a mock, GET /echo answers the request context of its function."""
    echo = make_function(_ECHO, "apigateway.amazonaws.com")
    identity: str = gateway.create_rest_api(name="hello", disableExecuteApiEndpoint=True)["id"]
    root = gateway.get_resources(restApiId=identity)["items"][0]["id"]
    child = gateway.create_resource(restApiId=identity, parentId=root, pathPart="echo")["id"]
    for resource in (root, child):
        gateway.put_method(restApiId=identity, resourceId=resource, httpMethod="GET", authorizationType="NONE")
    gateway.put_integration(
        restApiId=identity,
        resourceId=root,
        httpMethod="GET",
        type="MOCK",
        requestTemplates={"application/json": '{"statusCode": 200}'},
    )
    gateway.put_integration_response(
        restApiId=identity,
        resourceId=root,
        httpMethod="GET",
        statusCode="200",
        responseTemplates={"application/json": HELLO},
    )
    gateway.put_integration(
        restApiId=identity,
        resourceId=child,
        httpMethod="GET",
        type="AWS_PROXY",
        integrationHttpMethod="POST",
        uri=f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{echo}/invocations",
    )
    gateway.create_deployment(restApiId=identity, stageName="live")
    return identity


@pytest.fixture
def make_domain(gateway: Any, api_id: str) -> Iterator[Callable[..., str]]:
    """Create a custom domain for the API; without a truststore it has no mutual TLS."""
    made: list[str] = []

    def create(truststore: tuple[str, str] | None = None, **options: Any) -> str:
        name = f"d-{uuid.uuid4().hex[:8]}.example.com"
        if truststore is not None:
            uri, version = truststore
            options["mutualTlsAuthentication"] = {"truststoreUri": uri, "truststoreVersion": version}
        settings = {"endpointConfiguration": {"types": ["REGIONAL"]}, "securityPolicy": "TLS_1_2"} | options
        gateway.create_domain_name(domainName=name, regionalCertificateArn="arn:aws:acm:::certificate/x", **settings)
        made.append(name)
        gateway.create_base_path_mapping(domainName=name, restApiId=api_id, stage="live")
        return name

    yield create
    for name in made:
        gateway.delete_domain_name(domainName=name)
