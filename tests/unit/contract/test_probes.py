"""What is a marked event, and what is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mtls_rotation.contract import probes
from mtls_rotation.contract.events import PATH_PROBED, SOURCE, TRUSTSTORE_SYNC_REQUESTED
from mtls_rotation.truststore.request import SyncRequest
from tests.kit.lambda_functions import sample

MARK = "0123456789abcdef" * 2


def on_the_bus(**changes: Any) -> dict[str, Any]:
    return {"source": SOURCE, "detail-type": PATH_PROBED, "detail": {"stack": "s", "probe": MARK}} | changes


def in_the_bucket(key: str) -> dict[str, Any]:
    return {"source": "aws.s3", "detail-type": "Object Created", "detail": {"object": {"key": key}}}


@pytest.mark.parametrize(
    "event", [on_the_bus(), in_the_bucket(probes.ANCHORS + MARK), in_the_bucket(probes.LIST + MARK)]
)
def test_a_marked_event_is_known_by_its_mark(event: dict[str, Any]) -> None:
    assert probes.marked(event) == MARK


@pytest.mark.parametrize(
    "event",
    [
        on_the_bus(source="somebody"),
        on_the_bus(**{"detail-type": TRUSTSTORE_SYNC_REQUESTED}),
        on_the_bus(detail={"probe": MARK.upper()}),
        on_the_bus(detail={"probe": "x" * 1000}),
        on_the_bus(detail={"probe": f"{MARK}\n"}),
        on_the_bus(detail={"probe": 7}),
        on_the_bus(detail={}),
        in_the_bucket(f"anchors/static/{MARK}"),
        in_the_bucket(f"revoked/probes/{MARK}"),
        in_the_bucket("probes/"),
        in_the_bucket("probes/anchors/notes.txt"),
        {"source": "aws.s3", "detail": {}},
        {},
        [],
        None,
    ],
)
def test_whatever_else_comes_is_work(event: object) -> None:
    assert probes.marked(event) == ""


@pytest.mark.parametrize("name", ["sync-requested", "sync-object-created", "revocation-notice", "signed-certificate"])
def test_no_event_of_work_is_taken_for_a_marked_one(name: str) -> None:
    event = sample(name)
    assert probes.marked(event.get("Records", [event])[0]) == ""


def test_a_batch_asks_nothing_if_there_are_marked_events_alone_in_it() -> None:
    probe, work = json.dumps(on_the_bus()), json.dumps(on_the_bus(**{"detail-type": TRUSTSTORE_SYNC_REQUESTED}))

    def read(*bodies: str) -> tuple[tuple[str, ...], bool]:
        request = SyncRequest.from_messages({str(at): body for at, body in enumerate(bodies)}, "s")
        return request.probes, request.asks_nothing

    assert read(probe) == ((MARK,), True)
    assert read(probe, probe) == ((MARK, MARK), True)
    assert read(probe, work) == ((MARK,), False)
    assert read(work) == ((), False)
    assert read(probe, "{") == ((MARK,), False)
    assert read() == ((), False)
