"""What functions make of calls that hang, break off, or whose answers are lost; end to end in tests/proof/quick."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, ReadTimeoutError

from mtls_client import SecretsManagerSource
from mtls_rotation.assembly import Assembly
from mtls_rotation.aws.bucket import CertificateBucket
from mtls_rotation.aws.clients import BRIEF_CALLS, PATIENT_CALLS, SINGLE_CALLS, Clients
from mtls_rotation.aws.kms import SigningKeys
from mtls_rotation.contract import layout
from mtls_rotation.errors import InvalidSettingsError, RevocationUnknownError
from mtls_rotation.gateway.live_document import from_parameter
from mtls_rotation.issuers import acm_pca
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.request import KeyAlgorithm
from mtls_rotation.revocation.check import Moment, RevocationCheck
from mtls_rotation.rotation.request import Step
from mtls_rotation.targets.api import Edition, ObjectVersion, Running
from mtls_rotation.targets.registry import TruststoreTargets
from mtls_rotation.timing import Deadline
from tests.kit import builders
from tests.kit.fakes import refused
from tests.kit.lambda_functions import Context, load, sample
from tests.kit.serving import serving
from tests.kit.stack import BUCKET, DOMAIN, KEY_USERS, NAME, Stack
from tests.repository.test_template import RESOURCES

CA_ARN = "arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/11111111-2222-4333-8444-555555555555"
SETTINGS = {
    "BUCKET_NAME": "b",
    "EVENT_BUS_NAME": "default",
    "STACK_NAME": "stack",
    "QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/1/q",
    "DOMAIN_NAMES": DOMAIN,
    "CA_KEY_MAKERS": ",".join(KEY_USERS.makers),
    "CA_KEY_SIGNERS": ",".join(KEY_USERS.signers),
}
# The authorizer and the proxy answer requests: their calls have time-outs of their own.
PATIENT_FUNCTIONS = {
    name: properties["Timeout"]
    for name, it in RESOURCES.items()
    if it["Type"] == "AWS::Serverless::Function" and "Timeout" in (properties := it["Properties"])
    if name not in {"AuthorizerFunction", "MtlsProxyFunction"}
}


def longest(config: Any) -> float:
    """Seconds that a call takes if every connection is slow to come about and then says nothing, pauses included."""
    attempts = config.retries["total_max_attempts"]
    assert config.retries["mode"] == "standard"
    pauses = float(sum(min(2**it, 20) for it in range(attempts - 1)))
    return pauses + float(attempts * (config.connect_timeout + config.read_timeout))


def made_clients(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Every client that the parts of the functions are made of, and how it calls."""
    made: list[tuple[str, Any]] = []
    session = boto3.Session("test", "test", region_name="us-east-1")
    make = session.client

    def noted(name: Any, **options: Any) -> Any:
        client = make(name, **options)
        made.append((name, client.meta.config))
        return client

    monkeypatch.setattr(session, "client", noted)
    assembly = Assembly(SETTINGS, session)
    _ = assembly.rotation, assembly.sync, assembly.intake, assembly.revocation, assembly.queue, assembly.removal
    _ = assembly.services.signing_keys, list(assembly.targets)
    certificate_authority = acm_pca.Reference(type="acm-pca", certificate_authority_arn=CA_ARN)
    assembly.issuers.of(cast("Any", SimpleNamespace(issuer=certificate_authority)))
    return made


def test_one_call_that_hangs_does_not_eat_the_time_of_the_function_that_makes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shortest = min(PATIENT_FUNCTIONS.values())
    made = made_clients(monkeypatch)

    assert {name for name, _ in made} >= {"secretsmanager", "s3", "events", "sqs", "apigateway", "kms", "acm-pca"}
    for name, config in made:
        patient = config.retries == vars(PATIENT_CALLS)["retries"]
        assert longest(config) < (PATIENT_FUNCTIONS["RotateFunction"] / 3 if patient else shortest), name


def test_only_a_rotation_asks_secrets_manager_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    patient = [name for name, config in made_clients(monkeypatch) if longest(config) > min(PATIENT_FUNCTIONS.values())]
    assert patient == ["secretsmanager"]


def test_what_must_not_be_done_twice_is_not_tried_again_by_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: dict[str, int] = {}
    answers = {"GetResources": {"ResourceTagMappingList": []}, "CreateKey": {"KeyMetadata": {"Arn": "key"}}}
    answers["PutObject"] = {"ETag": "", "VersionId": ""}

    def answered(client: BaseClient, operation: str, _: Any) -> Any:
        if operation == "GetObject":
            raise refused("NoSuchKey", operation)
        attempts[operation] = vars(client.meta.config)["retries"]["total_max_attempts"]
        return answers.get(operation, {})

    monkeypatch.setattr(BaseClient, "_make_api_call", answered)
    assembly = Assembly(SETTINGS, boto3.Session("test", "test", region_name="us-east-1"))
    keys = assembly.services.signing_keys
    made = keys.make(KeyAlgorithm.EC_P256, "stack/ca", "version", Deadline.within(10.0))
    answers["GetResources"] = {"ResourceTagMappingList": [{"ResourceARN": made.key_id}]}
    answers["GetKeyPolicy"] = {"Policy": json.dumps({"Id": "mtls-rotation:stack:stack/ca:version"})}
    keys.discard("stack/ca", "version", None, Deadline.within(10.0))
    (domain,) = assembly.targets
    edition = Edition("truststore.pem", "s3://b/truststore.pem", "new", b"", frozenset())
    domain.run(edition, Running(ObjectVersion("s3://b/truststore.pem", "old")))

    assert attempts.pop("CreateKey") == attempts.pop("UpdateDomainName") == 1
    assert attempts.keys() == {"GetKeyPolicy", "GetResources", "PutObject", "ScheduleKeyDeletion"}
    assert min(attempts.values()) > 1, "what may be done twice is tried again"


def test_a_key_whose_making_was_not_answered_is_cleared_away_once_another_is_in_use(empty_stack: Stack) -> None:
    client, made = empty_stack.clients.kms, []

    class Losing:
        def create_key(self, **request: Any) -> Any:
            made.append(client.create_key(**request)["KeyMetadata"]["Arn"])
            raise ReadTimeoutError(endpoint_url="https://kms")

    def losing(service: str, config: Any) -> Any:
        return Losing() if config is SINGLE_CALLS else empty_stack.client(service)

    secret, version, deadline = "stack/ca", "11111111-2222-4333-8444-555555555555", empty_stack.time.deadline()
    wanted = KeyAlgorithm.EC_P256, secret, version, deadline
    keys = SigningKeys(Clients(losing), NAME, empty_stack.bucket, lambda: empty_stack.moment, lambda: KEY_USERS)
    with pytest.raises(ReadTimeoutError):
        keys.make(*wanted)
    used = empty_stack.services.signing_keys.make(*wanted).key_id
    empty_stack.services.signing_keys.discard(secret, version, used, deadline)

    states = {it: client.describe_key(KeyId=it)["KeyMetadata"]["KeyState"] for it in (*made, used)}
    assert states == {made[0]: "PendingDeletion", used: "Enabled"}


def test_a_service_that_cannot_be_reached_is_announced(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://secretsmanager")

    token = stack.begin()
    monkeypatch.setattr(stack.secrets, "put_secret_value", unreachable, raising=False)
    with pytest.raises(BotoCoreError):
        stack.step(Step.CREATE, token)
    (event,) = stack.heard("Rotation Failed")

    assert event["detail"]["code"] == "EndpointConnectionError"
    assert event["detail"]["retryable"] is True


def test_the_failure_itself_is_raised_where_it_cannot_be_announced(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://events")

    def lost(**_: Any) -> None:
        raise ReadTimeoutError(endpoint_url="https://secretsmanager")

    token = stack.begin()
    monkeypatch.setattr(stack.secrets, "put_secret_value", lost, raising=False)
    monkeypatch.setattr(stack.bus, "put", unreachable)
    with pytest.raises(ReadTimeoutError):
        stack.step(Step.CREATE, token)


def answered(code: str, status: int) -> ClientError:
    """What boto3 makes of an answer."""
    response: Any = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "GetObject")


# objects --------------------------------------------------------------------------------------------------------------


class BreakingServer(ThreadingHTTPServer):
    """An S3 that breaks off in the midst of an object's content, so many times."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _BreaksOff)
        self.breaks = 0


class _BreaksOff(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = cast("BreakingServer", self.server)
        breaks, server.breaks = server.breaks > 0, server.breaks - 1
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.send_header("ETag", '"e"')
        self.end_headers()
        self.wfile.write(b"012" if breaks else b"0123456789")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the standard library
        pass


@pytest.fixture
def breaking() -> Iterator[BreakingServer]:
    with serving(BreakingServer()) as server:
        yield server


def bucket_at(server: BreakingServer) -> CertificateBucket:
    session = boto3.Session("test", "test", region_name="us-east-1")
    return CertificateBucket(
        session.client("s3", endpoint_url=f"http://127.0.0.1:{server.server_address[1]}"), "bucket"
    )


def test_an_object_whose_content_breaks_off_is_asked_for_again(breaking: BreakingServer) -> None:
    breaking.breaks = 2
    stored = bucket_at(breaking).read(layout.TRUSTSTORE)

    assert stored is not None
    assert stored.body == b"0123456789"


def test_an_object_whose_content_always_breaks_off_is_an_error_and_never_half_an_object(
    breaking: BreakingServer,
) -> None:
    breaking.breaks = 1000
    with pytest.raises(BotoCoreError):
        bucket_at(breaking).read(layout.TRUSTSTORE)


# what a fresh authorizer has to read ----------------------------------------------------------------------------------


class Shaky:
    """Reads of the revocation list that fail so many times, and of its older versions always."""

    def __init__(self, stack: Stack, failures: int, error: Exception) -> None:
        self._newer, self._left, self._error = stack.bucket.newer, failures, error
        self.name, self.asked = stack.bucket.name, 0

    def newer(self, key: str, known: Any) -> Any:
        self.asked, self._left = self.asked + 1, self._left - 1
        if self._left >= 0:
            raise self._error
        return self._newer(key, known)

    def versions(self, _: str) -> Any:
        raise self._error

    def check(self, tries: int) -> RevocationCheck:
        return RevocationCheck(cast("Any", self), timedelta(seconds=60), tries=lambda: range(tries))


def test_a_fresh_authorizer_asks_again_for_a_list_that_cannot_be_read_at_this_moment(stack: Stack) -> None:
    stack.revocation.run()
    for error in (ReadTimeoutError(endpoint_url="https://s3"), answered("SlowDown", 503)):
        shaky = Shaky(stack, 2, error)

        assert shaky.check(tries=3).revoked().listed == frozenset()


def test_a_fresh_authorizer_does_not_insist_where_it_is_denied(stack: Stack) -> None:
    stack.revocation.run()
    shaky = Shaky(stack, 99, answered("AccessDenied", 403))
    with pytest.raises(RevocationUnknownError):
        shaky.check(tries=5).revoked()

    assert shaky.asked == 1


def test_a_list_that_is_known_is_asked_for_once_however_it_fails(stack: Stack) -> None:
    stack.revocation.run()
    shaky, now = Shaky(stack, 0, ReadTimeoutError(endpoint_url="https://s3")), [0.0]
    check = RevocationCheck(
        cast("Any", shaky), timedelta(seconds=60), clock=lambda: Moment(now[0], now[0]), tries=lambda: range(5)
    )
    check.revoked()
    shaky._left, now[0] = 99, 31.0

    assert check.revoked().listed == frozenset()
    assert shaky.asked == 2


class ThrottlingServer(ThreadingHTTPServer):
    """A service that has had enough, so many times, and then answers."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Throttles)
        self.answer = answer
        self.throttles = 0
        self.requests = 0


class _Throttles(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = cast("ThrottlingServer", self.server)
        self.rfile.read(int(self.headers["Content-Length"]))
        server.requests += 1
        enough = server.requests <= server.throttles
        body = json.dumps({"__type": "ThrottlingException"} if enough else server.answer).encode()
        self.send_response(400 if enough else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the standard library
        pass


@pytest.fixture
def systems_manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThrottlingServer]:
    with serving(ThrottlingServer({"Parameter": {"Name": "/p", "Value": "text"}})) as server:
        for name, value in {"DEFAULT_REGION": "us-east-1", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "s"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", f"http://127.0.0.1:{server.server_address[1]}")
        yield server


def test_a_parameter_that_cannot_be_read_at_this_moment_is_asked_for_again_by_whom_it_is_new_to(
    systems_manager: ThrottlingServer,
) -> None:
    systems_manager.throttles = 3
    assert from_parameter("/p", boto3.client("ssm", config=BRIEF_CALLS), lambda: range(2))() == "text"


def test_a_parameter_that_was_read_before_is_not_waited_for(
    systems_manager: ThrottlingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtls_rotation.gateway.live_document.KEPT", 0)
    read = from_parameter("/p", boto3.client("ssm", config=BRIEF_CALLS), lambda: range(50))
    read()
    systems_manager.throttles = 1000
    with pytest.raises(InvalidSettingsError, match="Throttling"):
        read()

    assert systems_manager.requests == 3, "the first one, and the two that the SDK makes of one"


# an application's certificate -----------------------------------------------------------------------------------------


def test_a_program_that_starts_gets_its_certificate_though_the_first_two_calls_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    version = {"VersionId": "v", "SecretString": "value"}
    with serving(ThrottlingServer(version)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", f"http://127.0.0.1:{server.server_address[1]}")
        for name, value in {"REGION": "us-east-1", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "s"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        server.throttles = 2

        assert SecretsManagerSource().read("secret").value == "value"


# the queue ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def app(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    stack.with_gateway()
    queue = stack.clients.sqs.create_queue(QueueName="sync")["QueueUrl"]
    module = load("truststore_sync", monkeypatch, QUEUE_URL=queue, DOMAIN_NAMES=DOMAIN)

    def unreachable(*_: Any, **__: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://sqs")

    monkeypatch.setattr(module.assembly.queue, "postpone", unreachable)
    return module


def test_a_sync_that_fails_is_told_of_by_its_own_error_though_the_queue_is_away(
    app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: Any, **__: Any) -> None:
        raise ClientError({"Error": {"Code": "SlowDown", "Message": "no"}}, "ListObjectsV2")

    monkeypatch.setattr(app.assembly.sync, "run", denied)
    with pytest.raises(ClientError, match="SlowDown"):
        app.handler(sample("sync-schedule"), Context())


def test_a_sync_with_more_to_do_keeps_its_one_message_though_the_queue_is_away(stack: Stack, app: ModuleType) -> None:
    client = cast("Any", stack.gateway)
    app.assembly.targets = TruststoreTargets(
        cast("Any", SimpleNamespace(clients=Clients(lambda *_, **__: client))), [DOMAIN]
    )
    stack.gateway.refuse_updates = "TooManyRequestsException"
    partner = pki.to_pem(builders.foreign(common_name="Partner"))
    stack.clients.s3.put_object(Bucket=BUCKET, Key="anchors/static/p.pem", Body=partner.encode())
    event = sample("sync-schedule")
    answer = app.handler(event, Context())

    assert answer == {"batchItemFailures": [{"itemIdentifier": event["Records"][0]["messageId"]}]}
