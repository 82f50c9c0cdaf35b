"""Whatever an upload is, it costs no other upload, no rotation and no publish: bounds, and what cannot be read."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from mtls_rotation.contract.layout import STATIC_ANCHORS
from mtls_rotation.pki import certificates as pki
from mtls_rotation.truststore.anchor_objects import Bounds
from tests.kit import builders
from tests.kit.fakes import refused
from tests.kit.stack import BUCKET, Stack

BEGIN = b"-----BEGIN CERTIFICATE-----\n"


class S3:
    """moto's S3, of which the reads are counted and some fail.

    Attributes:
        failing: by key, how a GetObject of it fails.
        reads: by key, how often it was asked for.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self.failing: dict[str, Exception] = {}
        self.reads: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_object(self, **request: Any) -> Any:
        self.reads[request["Key"]] += 1
        if failure := self.failing.get(request["Key"]):
            raise failure
        return self._client.get_object(**request)


@pytest.fixture
def gateway(stack: Stack) -> Stack:
    """A stack with a gateway, whose reads are counted."""
    stack.with_gateway()
    stack.bucket._client = cast("Any", S3(stack.clients.s3))
    return stack


def s3(stack: Stack) -> S3:
    found: Any = stack.bucket._client
    assert isinstance(found, S3)
    return found


def upload(stack: Stack, name: str, body: bytes | None = None, **more: Any) -> str:
    """Under anchors/static/: a CA, or whatever; the CA's fingerprint."""
    certificate = builders.foreign(common_name=name)
    content = pki.to_pem(certificate).encode() if body is None else body
    stack.clients.s3.put_object(Bucket=BUCKET, Key=f"{STATIC_ANCHORS}{name}", Body=content, **more)
    return pki.fingerprint(certificate)


def rejected(stack: Stack) -> list[dict[str, Any]]:
    return [event["detail"] for event in stack.heard("Truststore Anchor Rejected")]


def sync(stack: Stack) -> Any:
    """The next that may update the domain."""
    stack.pass_time(minutes=1)
    return stack.reconcile()


KMS = refused("KMS.DisabledException", "GetObject")
DENIED = refused("AccessDenied", "GetObject", status=403)


@pytest.mark.parametrize("failure", [KMS, DENIED], ids=["key disabled", "key of another"])
def test_an_upload_that_s3_does_not_hand_out_is_one_unreadable_upload_and_no_more(
    gateway: Stack, failure: ClientError
) -> None:
    good, bad = upload(gateway, "good.pem"), upload(gateway, "bad.pem")
    s3(gateway).failing[f"{STATIC_ANCHORS}bad.pem"] = failure
    for _ in range(2):
        result = sync(gateway)

    assert good in gateway.deployed()
    assert result.retry_after is None
    (detail,) = rejected(gateway)
    assert (detail["key"], detail["count"]) == (f"{STATIC_ANCHORS}bad.pem", 1)
    assert failure.response["Error"]["Code"] in detail["reason"]
    assert "a key that this role may not use?" in detail["reason"]

    s3(gateway).failing.clear()
    sync(gateway)
    assert bad in gateway.deployed(), "as soon as it can be read, although it has not changed"


def test_an_archived_upload_is_one_unreadable_upload_and_no_more(gateway: Stack) -> None:
    upload(gateway, "archived.pem", StorageClass="GLACIER")
    good = upload(gateway, "good.pem")
    sync(gateway)

    assert good in gateway.deployed()
    (detail,) = rejected(gateway)
    assert "archived" in detail["reason"]


def test_a_managed_anchor_that_s3_does_not_hand_out_stays_deployed_and_stops_no_sync(
    gateway: Stack, ca: pki.CertifiedKey
) -> None:
    ours = pki.fingerprint(ca.certificate)
    good = upload(gateway, "good.pem")
    gateway.clients.s3.delete_object(Bucket=BUCKET, Key="state/sync.json")
    s3(gateway).failing[f"anchors/managed/{ours}.pem"] = DENIED
    sync(gateway)

    assert {ours, good} == gateway.deployed()


@pytest.mark.parametrize(
    "failure", [refused("InternalError", "GetObject", status=500), ReadTimeoutError(endpoint_url="https://s3")]
)
def test_what_cannot_be_read_for_a_moment_is_read_later_and_nothing_is_told(gateway: Stack, failure: Exception) -> None:
    kept, good = upload(gateway, "kept.pem"), upload(gateway, "good.pem")
    sync(gateway)
    newer = upload(gateway, "kept.pem")
    s3(gateway).failing[f"{STATIC_ANCHORS}kept.pem"] = failure
    result = sync(gateway)

    assert result.retry_after is not None
    assert {kept, good} < gateway.deployed()
    assert rejected(gateway) == []
    s3(gateway).failing.clear()
    sync(gateway)
    assert newer in gateway.deployed()


def test_of_many_that_cannot_be_read_each_is_tried_again_in_its_turn(gateway: Stack) -> None:
    gateway.bounds = Bounds(tried_again=2)
    keys = {f"{STATIC_ANCHORS}{number}.pem" for number in range(5)}
    for key in keys:
        upload(gateway, key.removeprefix(STATIC_ANCHORS))
        s3(gateway).failing[key] = DENIED
    sync(gateway)
    tried = []
    for _ in range(3):
        s3(gateway).reads.clear()
        sync(gateway)
        tried.append(keys & set(s3(gateway).reads))

    assert [len(it) for it in tried] == [2, 2, 2]
    assert set().union(*tried) == keys


def test_four_mebibytes_of_begin_lines_are_one_event_and_a_short_note(gateway: Stack) -> None:
    good = upload(gateway, "good.pem")
    upload(gateway, "storm.pem", BEGIN * (4 * 1024 * 1024 // len(BEGIN)))
    sync(gateway)

    assert good in gateway.deployed()
    (detail,) = rejected(gateway)
    assert detail["count"] == Bounds().spoilt + 1
    assert len(gateway.objects()["state/sync.json"]) < 20_000


def test_of_a_bundle_so_many_blocks_are_read_and_one_reason_says_that_there_are_more(gateway: Stack) -> None:
    gateway.bounds = Bounds(blocks=2)
    certificates = [builders.foreign(common_name=str(number)) for number in range(4)]
    upload(gateway, "large.pem", pki.to_pem(*certificates).encode())
    sync(gateway)

    assert gateway.deployed().issuperset(map(pki.fingerprint, certificates[:2]))
    (detail,) = rejected(gateway)
    assert detail["reason"] == "it has more than 2 blocks, of which the rest is not read"


def test_thousands_of_objects_are_a_hundred_events_and_one_more_and_no_more_the_next_time(gateway: Stack) -> None:
    for number in range(105):
        upload(gateway, f"{number:04}", b"rubbish")
    for _ in range(2):
        sync(gateway)

    details = rejected(gateway)
    assert len(details) == 101
    (more,) = [it for it in details if it["key"] == STATIC_ANCHORS]
    assert (more["count"], more["reason"]) == (5, "5 further objects hold what is left out")


def test_beyond_so_many_objects_nothing_is_listed_but_what_was_in_before(gateway: Stack) -> None:
    gateway.bounds = Bounds(listed=3)
    old, gone = upload(gateway, "y.pem"), upload(gateway, "z.pem")
    sync(gateway)
    for number in range(5):
        upload(gateway, f"{number}.pem", b"rubbish")
    gateway.clients.s3.delete_object(Bucket=BUCKET, Key=f"{STATIC_ANCHORS}z.pem")
    gateway.settings = replace(gateway.settings, overlap=gateway.settings.overlap * 0)
    sync(gateway)

    assert old in gateway.deployed()
    assert gone not in gateway.deployed()
    assert [it["reason"] for it in rejected(gateway) if it["key"] == STATIC_ANCHORS] == [
        "there are more than 3 objects under it, of which the last are not read"
    ]


def test_beyond_so_many_objects_one_under_a_key_of_somebodys_own_stops_no_sync(
    gateway: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 answers HeadObject with 400 then: https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html"""

    head_object = gateway.clients.s3.head_object

    def refuse(*, Key: str, **request: Any) -> Any:  # noqa: N803 - AWS's name
        if Key.startswith(STATIC_ANCHORS):
            raise refused("400", "HeadObject", status=400)
        return head_object(Key=Key, **request)

    gateway.bounds = Bounds(listed=3)
    old = upload(gateway, "z.pem")
    sync(gateway)
    new = upload(gateway, "0.pem")
    for number in range(1, 5):
        upload(gateway, f"{number}.pem", b"rubbish")
    monkeypatch.setattr(gateway.clients.s3, "head_object", refuse)
    sync(gateway)

    assert {old, new} < gateway.deployed()


def test_beyond_so_many_objects_nothing_is_taken_out_of_which_there_is_no_note(gateway: Stack) -> None:
    gateway.bounds = Bounds(listed=3)
    old = upload(gateway, "y.pem")
    sync(gateway)
    for number in range(5):
        upload(gateway, f"{number}.pem", b"rubbish")
    gateway.clients.s3.delete_object(Bucket=BUCKET, Key="state/sync.json")
    for _ in range(3):
        sync(gateway)
        gateway.pass_time(days=3)

    assert old in gateway.deployed()


def test_a_run_reads_so_much_and_the_next_reads_on_and_nothing_is_read_twice(gateway: Stack) -> None:
    gateway.bounds = Bounds(reads=2)
    uploaded = {upload(gateway, f"{number}.pem") for number in range(5)}
    results = [sync(gateway) for _ in range(3)]

    assert [it.retry_after is None for it in results] == [False, False, True]
    assert uploaded < gateway.deployed()
    assert {count for key, count in s3(gateway).reads.items() if key.startswith(STATIC_ANCHORS)} == {1}


def test_all_bundles_together_have_a_bound_and_who_is_in_stays(gateway: Stack) -> None:
    first = upload(gateway, "z.pem")
    size = len(pki.to_pem(builders.foreign(common_name="z.pem")))
    gateway.bounds = Bounds(sizes=size * 3 // 2)
    sync(gateway)
    second = upload(gateway, "a.pem")
    sync(gateway)

    assert first in gateway.deployed()
    assert second not in gateway.deployed()
    (detail,) = rejected(gateway)
    assert (detail["key"], "all bundles together" in detail["reason"]) == (f"{STATIC_ANCHORS}a.pem", True)


def test_it_is_deployed_before_anything_is_told(gateway: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    good = upload(gateway, "good.pem")
    upload(gateway, "bad.pem", b"rubbish")
    put_all = type(gateway.bus).put_all

    def put(bus: Any, events: Any) -> None:
        events = list(events)
        if any(it.detail_type == "Truststore Anchor Rejected" for it in events):
            raise RuntimeError("EventBridge is away")
        put_all(bus, events)

    monkeypatch.setattr(type(gateway.bus), "put_all", put)
    with pytest.raises(RuntimeError, match="EventBridge is away"):
        sync(gateway)

    gateway.gateway.settle()
    assert good in gateway.deployed()


def test_what_was_told_is_noted_as_it_goes(gateway: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtls_rotation.truststore.sync._PUT_AT_ONCE", 10)
    for number in range(30):
        upload(gateway, f"{number:02}", b"rubbish")
    told: list[Any] = []
    put_all = type(gateway.bus).put_all

    def put(bus: Any, events: Any) -> None:
        events = list(events)
        if len(told) == 20:
            raise RuntimeError("ended in the middle")
        told.extend(events)
        put_all(bus, events)

    with monkeypatch.context() as patched:
        patched.setattr(type(gateway.bus), "put_all", put)
        with pytest.raises(RuntimeError, match="in the middle"):
            sync(gateway)
    assert len(rejected(gateway)) == 20
    sync(gateway)

    assert len(rejected(gateway)) == 10
