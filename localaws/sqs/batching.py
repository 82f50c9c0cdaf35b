"""How many SQS messages a function gets at once: the batch size and the batching window of its event source mapping."""

from __future__ import annotations

import time
from typing import Any

from ministack.services import lambda_svc, sqs

# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-parameters.html
_LARGEST_BATCH = 10_000


def receive(queue_url: str, batch_size: int) -> list[dict[str, Any]]:
    """Return a batch for a function; nothing until it is full or its window over."""
    with sqs._queues_lock:
        queue = sqs._get_q(queue_url)
        attributes = queue["attributes"]
        sqs._expire_retained(queue)
        sqs._dlq_sweep(queue)
        now, most = time.time(), max(1, min(int(batch_size or 1), _LARGEST_BATCH))
        waiting = [message for message in queue["messages"] if message.get("visible_at", message["sent_at"]) <= now]
        oldest = min((message.get("visible_at", message["sent_at"]) for message in waiting), default=now)
        if len(waiting) < most and now - oldest < _window(attributes["QueueArn"]):
            return []
        batch: list[dict[str, Any]] = sqs._collect_msgs(queue, most, int(attributes.get("VisibilityTimeout", "30")))
        return batch


def _window(queue_arn: str) -> float:
    """Return the seconds that the mapping of this queue gathers a batch for."""
    windows = (
        float(mapping.get("MaximumBatchingWindowInSeconds") or 0)
        for _, _, mapping in lambda_svc._iter_all_esms()
        if mapping.get("EventSourceArn") == queue_arn
    )
    return max(windows, default=0.0)
