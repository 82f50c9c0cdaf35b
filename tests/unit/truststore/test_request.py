"""What a batch of messages asks of the truststore."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mtls_rotation.truststore.request import SyncRequest

ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:stack/client-AbCdEf"


def event(detail_type: str, detail: dict[str, Any], **more: Any) -> str:
    return json.dumps({"detail-type": detail_type, "detail": detail} | more)


def test_an_empty_batch_asks_for_nothing_in_particular() -> None:
    assert SyncRequest.from_messages({}, "s") == SyncRequest(frozenset(), force=False, unreadable=())


def test_events_of_every_source_are_merged() -> None:
    request = SyncRequest.from_messages(
        {
            "1": event("Secret Label Updated", {"versionId": "v1"}, resources=[ARN]),
            "2": event("Truststore Sync Requested", {"secret_arn": ARN, "version_id": "v2"}),
            "3": event("Truststore Sync Requested", {"secret_arn": ARN, "version_id": "v2"}),
            "4": event("Object Created", {"object": {"key": "anchors/static/a.pem"}}),
            "5": event("Scheduled Event", {}),
        },
        "s",
    )

    assert request == SyncRequest(frozenset({(ARN, "v1"), (ARN, "v2")}), force=False, unreadable=())
    assert request.tokens == ["v1", "v2"], "of the rotations that asked"


@pytest.mark.parametrize(("force", "meant"), [(True, True), (False, False), ("true", False), (1, False), (None, False)])
def test_only_a_plain_true_forces(force: object, meant: bool) -> None:
    requested = event("Truststore Sync Requested", {"force": force, "stack": "s"})
    bodies = {"1": requested, "2": event("Scheduled Event", {})}
    assert SyncRequest.from_messages(bodies, "s").force is meant


def test_force_is_for_the_stack_that_it_names_and_for_no_other_on_the_bus() -> None:
    named = {"1": event("Truststore Sync Requested", {"force": True, "stack": "s"})}
    unnamed = {"1": event("Truststore Sync Requested", {"force": True})}

    assert SyncRequest.from_messages(named, "other").force is False
    assert SyncRequest.from_messages(unnamed, "s").force is False
    assert SyncRequest.from_messages(unnamed, "s").unnamed_force is True
    assert SyncRequest.from_messages(named, "other").unnamed_force is False


@pytest.mark.parametrize(
    "body", ["", "rubbish", "[]", "null", "7", "{}", '{"detail-type": 1, "detail": {}}', '{"detail-type": "x"}']
)
def test_what_is_no_event_is_named_and_hides_no_other(body: str) -> None:
    bodies = {"bad": body, "good": event("Truststore Sync Requested", {"secret_arn": ARN, "version_id": "v"})}
    request = SyncRequest.from_messages(bodies, "s")

    assert request.unreadable == ("bad",)
    assert request.named == {(ARN, "v")}


@pytest.mark.parametrize(
    "body",
    [
        event("Secret Label Updated", {}, resources=[ARN]),
        event("Secret Label Updated", {"versionId": "v"}),
        event("Secret Label Updated", {"versionId": "v"}, resources=[None, 7]),
        event("Secret Label Updated", {"versionId": "v"}, resources=None),
        event("Truststore Sync Requested", {"secret_arn": 7, "version_id": "v"}),
    ],
)
def test_an_event_that_names_no_version_still_asks_for_a_reconcile(body: str) -> None:
    assert SyncRequest.from_messages({"1": body}, "s") == SyncRequest(frozenset(), force=False, unreadable=())
