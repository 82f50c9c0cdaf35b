"""functions/truststore_sync through its own handler, with the payloads that reach its queue."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from mtls_rotation.aws.clients import Clients
from mtls_rotation.errors import TruststoreGuardError
from mtls_rotation.pki import certificates as pki
from mtls_rotation.targets.registry import TruststoreTargets
from tests.kit import builders, losses
from tests.kit.fakes import refused
from tests.kit.lambda_functions import Context, load, sample
from tests.kit.stack import BUCKET, DOMAIN, Stack

SAMPLES = [
    "sync-label-updated",
    "sync-object-created",
    "sync-object-deleted",
    "sync-schedule",
    "sync-requested",
    "sync-stack-changed",
]
TOLD = {
    "sync-label-updated": ("aws.secretsmanager", "Secret Label Updated"),
    "sync-object-created": ("aws.s3", "Object Created"),
    "sync-object-deleted": ("aws.s3", "Object Deleted"),
    "sync-schedule": ("aws.events", "Scheduled Event"),
    "sync-stack-changed": ("aws.cloudformation", "CloudFormation Stack Status Change"),
    "sync-requested": ("mtls-rotation", "Truststore Sync Requested"),
}


@pytest.fixture
def queue(stack: Stack) -> str:
    """A queue whose messages come back at once unless they are postponed."""
    answer = stack.clients.sqs.create_queue(QueueName="sync", Attributes={"VisibilityTimeout": "0"})
    return str(answer["QueueUrl"])


@pytest.fixture
def app(stack: Stack, queue: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    stack.with_gateway()
    module = load("truststore_sync", monkeypatch, QUEUE_URL=queue, DOMAIN_NAMES=DOMAIN)
    # moto has no UpdateDomainName, so the environment's own client gives way to the fake one.
    client = cast("Any", SettlingGateway(stack))
    module.assembly.targets = TruststoreTargets(
        cast("Any", SimpleNamespace(clients=Clients(lambda *_, **__: client))), [DOMAIN]
    )
    return module


class SettlingGateway:
    """The stack's fake gateway, on which an update has ended by the time that it is looked at."""

    def __init__(self, stack: Stack) -> None:
        self._gateway = stack.gateway
        self.exceptions = stack.gateway.exceptions
        self.settles = True

    def get_domain_name(self, **request: Any) -> dict[str, Any]:
        return self._gateway.get_domain_name(**request)

    def update_domain_name(self, **request: Any) -> dict[str, Any]:
        answer = self._gateway.update_domain_name(**request)
        self._gateway.settle()
        return answer


def upload_partner(stack: Stack) -> str:
    partner = builders.foreign(common_name="Partner")
    stack.clients.s3.put_object(Bucket=BUCKET, Key="anchors/static/p.pem", Body=pki.to_pem(partner).encode())
    return pki.fingerprint(partner)


@pytest.mark.parametrize("name", SAMPLES)
def test_each_sample_payload_leads_to_a_reconcile(stack: Stack, app: ModuleType, name: str) -> None:
    partner = upload_partner(stack)

    assert app.handler(sample(name, stack), Context()) == {"batchItemFailures": []}
    assert partner in stack.deployed()


@pytest.mark.parametrize("name", SAMPLES)
def test_each_sample_is_an_envelope_as_eventbridge_sends_it(name: str) -> None:
    (record,) = sample(name)["Records"]
    body = json.loads(record["body"])

    assert record["md5OfBody"] == hashlib.md5(record["body"].encode(), usedforsecurity=False).hexdigest()
    assert (body["source"], body["detail-type"]) == TOLD[name]
    assert set(body) == {
        "version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail",
    }  # fmt: skip
    assert (body["account"], body["region"]) == ("123456789012", "us-east-1")


def test_the_sample_of_a_request_is_what_set_secret_puts(stack: Stack, app: ModuleType) -> None:
    (record,) = sample("sync-requested")["Records"]

    assert set(json.loads(record["body"])["detail"]) == {"secret_arn", "secret_name", "version_id", "anchors"}


def receive(stack: Stack, queue: str, *bodies: str) -> dict[str, Any]:
    """A batch with the queue's real receipt handles."""
    for body in bodies:
        stack.clients.sqs.send_message(QueueUrl=queue, MessageBody=body)
    messages = stack.clients.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    template = sample("sync-schedule")["Records"][0]
    return {
        "Records": [
            template | {"messageId": m["MessageId"], "receiptHandle": m["ReceiptHandle"], "body": m["Body"]}
            for m in messages
        ]
    }


def test_of_a_batch_that_meets_a_busy_domain_one_message_comes_again_later(
    stack: Stack, app: ModuleType, queue: str
) -> None:
    upload_partner(stack)
    stack.gateway.refuse_updates = "TooManyRequestsException"
    body = sample("sync-schedule")["Records"][0]["body"]
    batch = receive(stack, queue, body, body, "rubbish")
    answer = app.handler(batch, Context())

    failures = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
    unreadable, *kept = failures
    assert [record["body"] for record in batch["Records"] if record["messageId"] == unreadable] == ["rubbish"]
    assert len(kept) == 1, "one is enough to come again, the others are done"
    coming = stack.clients.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert kept[0] not in {message["MessageId"] for message in coming}, "it came back at once"


def test_an_unreadable_message_alone_is_left_in_the_queue(stack: Stack, app: ModuleType, queue: str) -> None:
    partner = upload_partner(stack)
    batch = receive(stack, queue, sample("sync-schedule")["Records"][0]["body"], "rubbish")
    answer = app.handler(batch, Context())

    bad = [record["messageId"] for record in batch["Records"] if record["body"] == "rubbish"]
    assert answer == {"batchItemFailures": [{"itemIdentifier": bad[0]}]}
    assert partner in stack.deployed()


def test_a_plan_that_is_not_safe_fails_the_batch_and_is_counted(
    stack: Stack, app: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    losses.destroy(stack, "truststore.pem")
    with pytest.raises(TruststoreGuardError):
        app.handler(sample("sync-schedule"), Context())

    assert '"PublishStopped":[1.0]' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (TruststoreGuardError(where="", found="", expected="", remedy=""), 600),
        (refused("AccessDenied", "ListObjectsV2"), 120),  # three failures in 15 minutes ring, and IAM is quicker
        (RuntimeError("a fault"), 30),
    ],
    ids=["guard", "denied", "fault"],
)
def test_a_batch_that_fails_comes_again_long_before_the_queue_would_hand_it_out(
    stack: Stack, app: ModuleType, queue: str, monkeypatch: pytest.MonkeyPatch, error: Exception, seconds: int
) -> None:
    monkeypatch.setattr(app.assembly.sync, "run", _raiser(error))
    postponed: list[tuple[int, int]] = []
    monkeypatch.setattr(
        app.assembly.queue, "postpone", lambda handles, pause: postponed.append((len(list(handles)), pause))
    )
    body = sample("sync-schedule")["Records"][0]["body"]
    with pytest.raises(type(error)):
        app.handler(receive(stack, queue, body, body), Context())

    assert postponed == [(2, seconds)]


@pytest.mark.parametrize(("receives", "seconds"), [("1", 30), ("12", 72), ("500", 600)])
def test_what_waits_for_a_domain_comes_again_the_later_the_oftener_it_has_come(
    stack: Stack, app: ModuleType, monkeypatch: pytest.MonkeyPatch, receives: str, seconds: int
) -> None:
    """So a domain that is only slow leads no message to the dead letters."""
    upload_partner(stack)
    stack.gateway.refuse_updates = "TooManyRequestsException"
    postponed: list[int] = []
    monkeypatch.setattr(app.assembly.queue, "postpone", lambda _, pause: postponed.append(pause))
    event = sample("sync-schedule")
    event["Records"][0]["attributes"]["ApproximateReceiveCount"] = receives

    assert app.handler(event, Context())["batchItemFailures"]
    assert postponed == [seconds]


def test_a_domain_that_is_stuck_is_counted_and_logged_with_what_it_says(
    stack: Stack, app: ModuleType, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    upload_partner(stack)
    stack.gateway.fails = "the truststore could not be read"
    app.handler(sample("sync-schedule"), Context())

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [line["DomainsStuck"] for line in lines if "DomainsStuck" in line] == [[1.0]]
    (said,) = [vars(record) for record in caplog.records if vars(record).get("code") == "MTLS-304"]
    assert (said["domain"], said["reason"]) == (DOMAIN, "FAILED: the truststore could not be read")


def _raiser(error: Exception) -> Callable[..., None]:
    def run(*_: object, **__: object) -> None:
        raise error

    return run


def test_what_was_found_is_counted(stack: Stack, app: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    upload_partner(stack)
    app.handler(sample("sync-object-created"), Context())

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    (counted,) = [line for line in lines if "Anchors" in line]
    assert (counted["service"], counted["stack"]) == ("truststore_sync", "stack")
    assert counted["SyncDuration"][0] > 0
    counts = {"Anchors": 2, "AnchorsAdded": 1, "TruststorePublished": 1, "DomainUpdates": 1, "SyncSucceeded": 1}
    zero = (
        "AnchorsRemoved",
        "AnchorsRejected",
        "DomainsDrifted",
        "DomainsStuck",
        "TruststoreWarnings",
        "Postponed",
        "PublishStopped",
        "SyncFailed",
    )
    assert {name: counted[name] for name in (*counts, *zero)} == {
        name: [float(counts.get(name, 0))] for name in (*counts, *zero)
    }


def test_a_marked_event_is_answered_in_the_log_and_asks_for_no_sync(
    app: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(type(app.assembly.sync), "run", lambda *_, **__: pytest.fail("it was a marked event"))

    assert app.handler(sample("sync-probed"), Context()) == {"batchItemFailures": []}

    (said,) = [vars(record) for record in caplog.records if record.name == "truststore_sync"]
    assert (said["message"], said["probe"]) == ("a probe came through", "3f9a1c0b5d7e42868c1b0a9d8e7f6a5b")
