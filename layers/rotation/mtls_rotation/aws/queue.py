"""The sync queue: how a batch that cannot be worked off now comes back at the right time."""

from __future__ import annotations

from itertools import batched
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_sqs import SQSClient

# ChangeMessageVisibilityBatch takes ten at a time.
_AT_ONCE = 10


class SyncQueue:
    """The queue that feeds the truststore function."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def postpone(self, receipt_handles: Iterable[str], seconds: int) -> None:
        """Have messages that are in hand come again after `seconds`, in place of the queue's visibility timeout."""
        for handles in batched(receipt_handles, _AT_ONCE, strict=False):
            self._client.change_message_visibility_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(index), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
                    for index, handle in enumerate(handles)
                ],
            )
