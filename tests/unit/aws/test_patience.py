"""What IAM denies is asked for again for a while: its changes take effect late."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from mtls_rotation.aws.clients import BRIEF_CALLS, SINGLE_CALLS, Clients
from mtls_rotation.aws.retries import Patience
from mtls_rotation.gateway.live_document import from_parameter
from tests.kit.lambda_functions import load

SERVICES = {
    "secretsmanager": lambda it: it.describe_secret(SecretId="a"),
    "s3": lambda it: it.get_object(Bucket="bucket", Key="a"),
    "kms": lambda it: it.get_public_key(KeyId="a"),
    "apigateway": lambda it: it.get_domain_name(domainName="a.example"),
    "sqs": lambda it: it.change_message_visibility(QueueUrl="https://a/b", ReceiptHandle="a", VisibilityTimeout=1),
}
PARAMETER = {"Parameter": {"Name": "/p", "Value": "text"}}


class Iam:
    """Refuses every call until `allows_at`, on a clock on which only waiting takes time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, allows_at: float, code: str = "AccessDeniedException") -> None:
        self.now, self.calls, self.allows_at, self._code = 0.0, 0, allows_at, code
        monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=self._sleep))
        monkeypatch.setattr("botocore.endpoint.Endpoint._get_response", self._answer)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def _answer(self, *_: Any) -> Any:
        self.calls += 1
        refused = self.now < self.allows_at
        said: dict[str, Any] = {"Error": {"Code": self._code, "Message": "no"}} if refused else dict(PARAMETER)
        status = 403 if refused else 200
        said["ResponseMetadata"] = {"HTTPStatusCode": status}
        return (SimpleNamespace(status_code=status, headers={}), said), None

    def client(self, service: str, patience: Patience | None, **calls: Any) -> Any:
        def create(name: str, config: Any) -> Any:
            return boto3.Session("test", "test", region_name="us-east-1").client(name, config=config)  # type: ignore[call-overload]

        return Clients(create, patience).of(service, **calls)


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_denied_for_a_while_is_waited_for_whatever_the_service(
    monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    iam = Iam(monkeypatch, allows_at=50.0)
    SERVICES[service](iam.client(service, Patience(60.0, monotonic=lambda: iam.now)))
    assert 50.0 <= iam.now < 52.0


@pytest.mark.parametrize("code", ["EncryptionFailure", "DecryptionFailure"])
def test_a_secret_under_a_key_that_was_just_made_is_waited_for(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    iam = Iam(monkeypatch, allows_at=5.0, code=code)
    SERVICES["secretsmanager"](iam.client("secretsmanager", Patience(60.0, monotonic=lambda: iam.now)))
    assert iam.now >= 5.0


def test_it_is_waited_for_though_a_call_is_else_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    iam = Iam(monkeypatch, allows_at=5.0)
    SERVICES["kms"](iam.client("kms", Patience(60.0, monotonic=lambda: iam.now), calls=SINGLE_CALLS))
    assert iam.now >= 5.0


def test_a_parameter_that_may_not_be_read_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    iam = Iam(monkeypatch, allows_at=5.0)
    client = iam.client("ssm", Patience(60.0, monotonic=lambda: iam.now), calls=BRIEF_CALLS)
    assert from_parameter("/p", client, lambda: range(1))() == "text"
    assert iam.now >= 5.0


def test_what_stays_denied_is_told_when_the_patience_is_used_up_and_from_then_on_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    iam = Iam(monkeypatch, allows_at=10_000.0)
    patience = Patience(20.0, monotonic=lambda: iam.now)
    waited = []
    for service in ("kms", "s3", "kms"):
        began = iam.now
        with pytest.raises(ClientError, match="AccessDenied"):
            SERVICES[service](iam.client(service, patience))
        waited.append(iam.now - began)
        iam.now += 30.0
    assert waited == [20.0, 0.0, 0.0]

    iam.now, iam.allows_at = 1000.0, 1010.0  # another deployment
    SERVICES["kms"](iam.client("kms", patience))


@pytest.mark.parametrize(
    ("patience", "code"),
    [
        (None, "AccessDeniedException"),
        (Patience(60.0), "ResourceNotFoundException"),
        (Patience(60.0, except_for=frozenset({"DescribeSecret"})), "AccessDeniedException"),
    ],
    ids=["without patience", "for another reason", "an operation whose denial says something"],
)
def test_nothing_else_is_waited_for(monkeypatch: pytest.MonkeyPatch, patience: Patience | None, code: str) -> None:
    iam = Iam(monkeypatch, allows_at=10.0, code=code)
    with pytest.raises(ClientError, match=code):
        SERVICES["secretsmanager"](iam.client("secretsmanager", patience))
    assert (iam.calls, iam.now) == (1, 0.0)


@pytest.mark.parametrize("name", ["bootstrap", "rotate", "revocation", "truststore_sync", "signed_certificate"])
def test_what_runs_inside_of_a_deployment_or_right_after_has_patience(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    function: ModuleType = load(name, monkeypatch)
    iam = Iam(monkeypatch, allows_at=5.0)
    function.assembly.services.clients.of("s3").get_object(Bucket="bucket", Key="a")
    assert iam.now >= 5.0
