from __future__ import annotations

import json
import uuid
from typing import Any

from tests.integration.localaws.conftest import Client
from tests.integration.localaws.support import wait_until, zipped

# Says how many messages it was given, by sending the number to another queue.
_COUNTER = """
import os, boto3
sqs = boto3.client("sqs")
def handler(event, context):
    sqs.send_message(QueueUrl=os.environ["ANSWERS"], MessageBody=str(len(event["Records"])))
"""


def batches(client: Client, messages: int, *, within: float, **mapping: Any) -> list[int]:
    """The sizes of the batches that a function gets of so many messages."""
    name, sqs, functions = f"batches-{uuid.uuid4().hex[:8]}", client("sqs"), client("lambda")
    source, answers = (sqs.create_queue(QueueName=f"{name}-{end}")["QueueUrl"] for end in ("in", "out"))
    functions.create_function(
        FunctionName=name,
        Runtime="python3.13",
        Handler="app.handler",
        Timeout=30,
        Role="arn:aws:iam::123456789012:role/batches",
        Code={"ZipFile": zipped(_COUNTER)},
        Environment={"Variables": {"ANSWERS": answers}},
    )
    for first in range(0, messages, 10):
        entries = [{"Id": str(it), "MessageBody": json.dumps(it)} for it in range(first, min(first + 10, messages))]
        sqs.send_message_batch(QueueUrl=source, Entries=entries)
    arn = sqs.get_queue_attributes(QueueUrl=source, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    made = functions.create_event_source_mapping(EventSourceArn=arn, FunctionName=name, **mapping)
    sizes: list[int] = []

    def all_there() -> bool:
        found = sqs.receive_message(QueueUrl=answers, MaxNumberOfMessages=10).get("Messages", [])
        sizes.extend(int(message["Body"]) for message in found)
        for message in found:
            sqs.delete_message(QueueUrl=answers, ReceiptHandle=message["ReceiptHandle"])
        return sum(sizes) >= messages

    wait_until(all_there, within)
    functions.delete_event_source_mapping(UUID=made["UUID"])
    functions.delete_function(FunctionName=name)
    return sizes


def test_a_batch_is_as_large_as_its_mapping_says(client: Client) -> None:
    assert batches(client, 25, within=15.0, BatchSize=1000, MaximumBatchingWindowInSeconds=1) == [25]


def test_a_full_batch_does_not_wait_for_its_window(client: Client) -> None:
    assert batches(client, 24, within=15.0, BatchSize=12, MaximumBatchingWindowInSeconds=300) == [12, 12]
