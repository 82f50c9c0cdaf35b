"""A queue that is being purged loses what is sent to it, for a minute on AWS."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.integration.localaws.conftest import Client
from tests.integration.localaws.support import wait_until


@pytest.fixture(scope="module")
def sqs(client: Client) -> Any:
    return client("sqs")


@pytest.fixture
def queue(sqs: Any) -> Iterator[str]:
    url: str = sqs.create_queue(QueueName=f"purged-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    yield url
    sqs.delete_queue(QueueUrl=url)


def received(sqs: Any, queue: str) -> list[str]:
    return [it["Body"] for it in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])]


def test_what_is_sent_to_a_queue_that_is_being_purged_is_lost_and_it_is_not_purged_again(sqs: Any, queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="before")
    sqs.purge_queue(QueueUrl=queue)
    sqs.send_message(QueueUrl=queue, MessageBody="meanwhile")

    assert received(sqs, queue) == []
    with pytest.raises(sqs.exceptions.PurgeQueueInProgress):
        sqs.purge_queue(QueueUrl=queue)
    counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    assert counts == {"ApproximateNumberOfMessages": "0"}


def test_what_is_sent_once_a_purge_is_over_stays(sqs: Any, queue: str, settings: Callable[..., object]) -> None:
    settings(queue_purge_time=timedelta(seconds=0.2))
    sqs.purge_queue(QueueUrl=queue)

    def sent_and_received() -> list[str]:
        sqs.send_message(QueueUrl=queue, MessageBody="after")
        return received(sqs, queue)

    assert wait_until(sent_and_received) == ["after"]
    sqs.purge_queue(QueueUrl=queue)
