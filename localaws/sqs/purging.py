"""PurgeQueue: it takes a minute, and takes along what is sent meanwhile; the emulator's is done at once.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_PurgeQueue.html
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ministack.services import sqs

from localaws.settings import LiveSettings

# When a queue was purged, among what the emulator keeps of it.
_PURGED = "localaws_purged_at"


class Purging:
    """Purges queues for as long as the settings say.

    "Messages sent to the queue after you call PurgeQueue might be deleted while the queue is being purged", says AWS:
    here all are.
    """

    def __init__(self, settings: LiveSettings) -> None:
        self._settings = settings

    def purge(self, emulated: Callable[..., Any], data: dict[str, Any], url: str) -> Any:
        """Answer PurgeQueue; a queue that is being purged is not purged again."""
        queue = sqs._get_q(data.get("QueueUrl", url), "sqs:PurgeQueue")
        if self._is_purged(queue, time.time()):
            raise sqs._Err(
                "PurgeQueueInProgress",
                f"Only one PurgeQueue operation on {queue['name']} is allowed every 60 seconds.",
                403,
            )
        answer = emulated(data, url)
        queue[_PURGED] = time.time()
        return answer

    def sweep(self, emulated: Callable[..., Any], queue: dict[str, Any], *rest: Any) -> Any:
        """Sweep a queue before it is read, as the emulator does, and take out what a purge takes."""
        if _PURGED in queue:
            began = queue[_PURGED]
            ends = began + self._settings.current.queue_purge_time.total_seconds()
            queue["messages"] = [it for it in queue["messages"] if not began <= it["sent_at"] < ends]
        return emulated(queue, *rest)

    def _is_purged(self, queue: dict[str, Any], now: float) -> bool:
        return bool(now < queue.get(_PURGED, float("-inf")) + self._settings.current.queue_purge_time.total_seconds())
