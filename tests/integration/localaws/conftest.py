"""What the tests of the local AWS share: one that runs, and what is made on it."""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config

from localaws import LocalAws
from tests.integration.localaws.support import Answered, Certificate, connected, make, send, wait_until, zipped

# Does what a rotation function does; a tag `fail` names the step that is to go wrong. testSecret tags what it finds.
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
    if step == "testSecret":
        try:
            found = sm.get_secret_value(SecretId=secret, VersionId=token, VersionStage="AWSPENDING")["SecretString"]
        except sm.exceptions.ResourceNotFoundException:
            found = "nothing"
        sm.tag_resource(SecretId=secret, Tags=[{"Key": "found", "Value": found[:200]}])
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
# Answers what the query's `answer` says, or else the event.
_TOLD = """
import json
def handler(event, context):
    told = (event["queryStringParameters"] or {}).get("answer")
    if told == "large":
        return {"statusCode": 200, "body": "x" * (6 * 1024 * 1024 + 100)}
    return json.loads(told) if told else {"statusCode": 200, "body": json.dumps(event)}
"""
HELLO = '{"message": "Hello, mTLS!"}'

type Client = Callable[[str], Any]
type Json = dict[str, Any]
type Deploy = Callable[..., Json]
type Ask = Callable[..., Answered]


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    log = tmp_path_factory.mktemp("localaws") / "local-aws.log"
    with LocalAws.start(
        log_path=log,
        dns="everything",
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


@pytest.fixture(scope="session")
def proxy_api(gateway: Any, make_function: Callable[..., str]) -> str:
    """A REST API like the one of a proxy: ANY /proxy/{route}/{path+}, every media type binary."""
    function = make_function(_TOLD, "apigateway.amazonaws.com")
    identity: str = gateway.create_rest_api(name="proxy", binaryMediaTypes=["*/*"])["id"]
    parent = gateway.get_resources(restApiId=identity)["items"][0]["id"]
    for part in ("proxy", "{route}", "{path+}"):
        parent = gateway.create_resource(restApiId=identity, parentId=parent, pathPart=part)["id"]
    of = {"restApiId": identity, "resourceId": parent, "httpMethod": "ANY"}
    gateway.put_method(**of, authorizationType="NONE")
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function}/invocations"
    gateway.put_integration(**of, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
    gateway.create_deployment(restApiId=identity, stageName="live")
    return identity


@pytest.fixture(scope="module")
def proxy_domain(
    gateway: Any, proxy_api: str, truststores: Callable[..., tuple[str, str]], ca: Certificate
) -> Iterator[str]:
    name, (uri, version) = f"p-{uuid.uuid4().hex[:8]}.example.com", truststores(ca)
    gateway.create_domain_name(
        domainName=name,
        endpointConfiguration={"types": ["REGIONAL"]},
        securityPolicy="TLS_1_2",
        regionalCertificateArn="arn:aws:acm:::certificate/x",
        mutualTlsAuthentication={"truststoreUri": uri, "truststoreVersion": version},
    )
    gateway.create_base_path_mapping(domainName=name, restApiId=proxy_api, stage="live")
    gateway.create_base_path_mapping(domainName=name, basePath="base", restApiId=proxy_api, stage="live")
    yield name
    gateway.delete_domain_name(domainName=name)


@pytest.fixture(params=["front door", "default endpoint"])
def ask(
    request: pytest.FixtureRequest, aws: LocalAws, proxy_api: str, proxy_domain: str, ca: Certificate
) -> Iterator[Ask]:
    """Send a request through one of the two doors of the API."""
    if request.param == "front door":
        with connected(aws.front_door, proxy_domain, ca.issue("billing")) as connection:
            yield lambda method, path, *rest: send(connection, method, path, *rest)
    else:
        plain = http.client.HTTPConnection(urlsplit(aws.endpoint_url).netloc, timeout=20)
        yield lambda method, path, *rest: send(plain, method, f"/_aws/execute-api/{proxy_api}/live{path}", *rest)
        plain.close()


@pytest.fixture
def deploy(client: Callable[[str], Any]) -> Iterator[Deploy]:
    """Create or update the test's stack from its resources, and return its outputs: a Ref of each resource.

    What a template has besides resources goes under ``beside``.
    """
    stacks = client("cloudformation")
    name = f"t-{uuid.uuid4().hex[:8]}"
    exists = False

    def run(
        expected: str = "COMPLETE", beside: Json | None = None, parameters: Json | None = None, **resources: Json
    ) -> Json:
        nonlocal exists
        outputs = {key: {"Value": {"Ref": key}} for key in resources}
        body = json.dumps((beside or {}) | {"Resources": resources, "Outputs": outputs})
        (stacks.update_stack if exists else stacks.create_stack)(
            StackName=name,
            TemplateBody=body,
            Capabilities=["CAPABILITY_AUTO_EXPAND"],
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in (parameters or {}).items()],
        )
        exists = True

        def finished() -> Any:
            (stack,) = stacks.describe_stacks(StackName=name)["Stacks"]
            return None if stack["StackStatus"].endswith("IN_PROGRESS") else stack

        stack = wait_until(finished, timeout=40)
        events = stacks.describe_stack_events(StackName=name)["StackEvents"]
        reasons = [event.get("ResourceStatusReason", "") for event in events]
        assert stack["StackStatus"].endswith(expected), (stack["StackStatus"], reasons)
        assert ("ROLLBACK" in stack["StackStatus"]) == ("ROLLBACK" in expected), reasons
        found = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        return found | {"reasons": "\n".join(reasons)}

    yield run
    stacks.delete_stack(StackName=name)
    wait_until(lambda: not _exists(stacks, name), timeout=40)


def _exists(stacks: Any, name: str) -> bool:
    summaries = stacks.list_stacks()["StackSummaries"]
    return any(s["StackName"] == name and s["StackStatus"] != "DELETE_COMPLETE" for s in summaries)
