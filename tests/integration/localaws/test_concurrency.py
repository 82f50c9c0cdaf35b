from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.localaws.conftest import Ask, Client, Deploy
from tests.integration.localaws.support import wait_until

# Leaves an object, and ends when there is another.
_KEPT_BUSY = """
import boto3, time
from botocore.exceptions import ClientError
s3 = boto3.client("s3")
def handler(event, context):
    s3.put_object(Bucket=event["bucket"], Key="began", Body=b"")
    while True:
        try:
            return s3.head_object(Bucket=event["bucket"], Key="may-end")["ETag"]
        except ClientError:
            time.sleep(0.05)
"""
_NOTES = """
import boto3
def handler(event, context):
    boto3.client("s3").put_object(Bucket=event["bucket"], Key="noted", Body=b"")
"""
_ROLE = "arn:aws:iam::123456789012:role/any"


@pytest.fixture
def bucket(client: Client) -> str:
    name = f"concurrency-{uuid.uuid4().hex[:8]}"
    client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def full(
    client: Client, make_function: Callable[..., str], settings: Callable[..., object], bucket: str
) -> Iterator[Callable[[], None]]:
    """An account that runs all the functions that it may; called, it has room again."""
    busy = make_function(_KEPT_BUSY)
    settings(concurrent_executions=1)
    functions, s3 = client("lambda"), client("s3")
    running = threading.Thread(
        target=functions.invoke,
        kwargs={"FunctionName": busy, "Payload": json.dumps({"bucket": bucket}).encode()},
        daemon=True,
    )
    running.start()
    wait_until(lambda: _there(s3, bucket, "began"))

    def make_room() -> None:
        s3.put_object(Bucket=bucket, Key="may-end", Body=b"")
        running.join(20)

    yield make_room
    make_room()


def test_a_young_account_takes_no_reservation(client: Client, make_function: Callable[..., str]) -> None:
    function = make_function(_NOTES)
    with pytest.raises(ClientError, match=r"below its minimum value of \[10\]") as refused:
        client("lambda").put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=1)

    assert refused.value.response["Error"]["Code"] == "InvalidParameterValueException"
    # To hold a function back takes nothing from the others.
    client("lambda").put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)


def test_a_hundred_stay_unreserved_in_an_account_that_has_them(
    client: Client, make_function: Callable[..., str], settings: Callable[..., object]
) -> None:
    settings(concurrent_executions=102)
    one, other = make_function(_NOTES), make_function(_NOTES)
    functions = client("lambda")
    functions.put_function_concurrency(FunctionName=one, ReservedConcurrentExecutions=2)
    with pytest.raises(ClientError, match=r"below its minimum value of \[100\]"):
        functions.put_function_concurrency(FunctionName=other, ReservedConcurrentExecutions=1)

    assert functions.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 100
    functions.delete_function_concurrency(FunctionName=one)


def test_a_template_whose_reservation_is_refused_is_rolled_back(deploy: Deploy) -> None:
    failed = deploy("ROLLBACK_COMPLETE", Function=_function(ReservedConcurrentExecutions=2))

    assert "below its minimum value of [10]" in failed["reasons"]


def test_a_queue_that_may_start_more_than_are_reserved_is_not_mapped(
    client: Client, deploy: Deploy, settings: Callable[..., object]
) -> None:
    settings(concurrent_executions=1000)
    queue = {"Type": "AWS::SQS::Queue"}

    def mapping(most: int) -> dict[str, Any]:
        source = {"Fn::GetAtt": ["Queue", "Arn"]}
        properties = {"FunctionName": {"Ref": "Function"}, "EventSourceArn": source}
        return {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": properties | {"ScalingConfig": {"MaximumConcurrency": most}},
        }

    made = deploy(Function=_function(ReservedConcurrentExecutions=2), Queue=queue, Mapping=mapping(2))
    assert _reserved(client, made["Function"]) == 2
    with pytest.raises(ClientError, match="greater than the reserved concurrency of the function, 2"):
        client("lambda").update_event_source_mapping(UUID=made["Mapping"], ScalingConfig={"MaximumConcurrency": 3})
    failed = deploy(
        "UPDATE_ROLLBACK_COMPLETE",
        Function=_function(ReservedConcurrentExecutions=2),
        Queue=queue,
        Mapping=mapping(3),
    )
    assert "MaximumConcurrency 3 is greater than the reserved concurrency of the function, 2" in failed["reasons"]
    deploy(Function=_function(), Queue=queue, Mapping=mapping(3))
    assert _reserved(client, made["Function"]) is None


def test_who_waits_for_an_answer_is_told_that_there_is_no_room(
    client: Client, make_function: Callable[..., str], bucket: str, full: Callable[[], None]
) -> None:
    function, payload = make_function(_NOTES), json.dumps({"bucket": bucket}).encode()
    with pytest.raises(ClientError) as refused:
        client("lambda").invoke(FunctionName=function, Payload=payload)

    assert refused.value.response["Error"]["Code"] == "TooManyRequestsException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    full()
    assert client("lambda").invoke(FunctionName=function, Payload=payload)["StatusCode"] == 200


def test_an_event_waits_for_room(
    client: Client, make_function: Callable[..., str], bucket: str, full: Callable[[], None]
) -> None:
    function, payload = make_function(_NOTES), json.dumps({"bucket": bucket}).encode()
    client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=payload)
    assert not _there(client("s3"), bucket, "noted")
    full()

    wait_until(lambda: _there(client("s3"), bucket, "noted"))


def test_a_client_of_an_api_is_not_told_that_its_function_found_no_room(ask: Ask, full: Callable[[], None]) -> None:
    status, _, body = ask("GET", "/proxy/a/b")

    assert (status, json.loads(body)) == (500, {"message": "Internal server error"})
    full()
    assert ask("GET", "/proxy/a/b")[0] == 200


def _function(**properties: Any) -> dict[str, Any]:
    code = {"ZipFile": "def handler(event, context):\n    return None\n"}
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {"Runtime": "python3.13", "Handler": "index.handler", "Role": _ROLE, "Code": code} | properties,
    }


def _reserved(client: Client, function: str) -> int | None:
    answer = client("lambda").get_function_concurrency(FunctionName=function)
    found: int | None = answer.get("ReservedConcurrentExecutions")
    return found


def _there(s3: Any, bucket: str, key: str) -> bool:
    return any(it["Key"] == key for it in s3.list_objects_v2(Bucket=bucket).get("Contents", []))
