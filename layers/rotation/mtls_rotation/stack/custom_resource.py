"""CloudFormation's custom resource protocol: how it is answered.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtls_rotation.errors import shown

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes import CloudFormationCustomResourceEvent

# CloudFormation refuses an answer of more than 4,096 bytes.
MAX_REASON = 2000
_LONGEST_ANSWER = 4096


@dataclass(frozen=True, slots=True)
class Answer:
    """What CloudFormation is told."""

    status: str
    reason: str
    data: dict[str, str]

    @classmethod
    def succeeded(cls, data: dict[str, str]) -> Answer:
        """It went well; `data` is what `Fn::GetAtt` gives."""
        return cls("SUCCESS", "", data)

    @classmethod
    def failed(cls, reason: str) -> Answer:
        """It did not; the reason stands in the stack's events."""
        return cls("FAILED", shown(reason)[:MAX_REASON], {})


def body(event: CloudFormationCustomResourceEvent, answer: Answer) -> bytes:
    """The answer as CloudFormation takes it; of a reason that is too long, as much as there is room for."""
    reason = answer.reason
    document = {
        "Status": answer.status,
        # It never changes, so that an update is never taken for a replacement.
        "PhysicalResourceId": f"{event.stack_id}/{event.logical_resource_id}",
        "StackId": event.stack_id,
        "RequestId": event.request_id,
        "LogicalResourceId": event.logical_resource_id,
        "Data": answer.data,
    }
    while len(written := json.dumps(document | {"Reason": reason}).encode()) > _LONGEST_ANSWER and reason:
        reason = reason[: len(reason) // 2]
    return written


def send(event: CloudFormationCustomResourceEvent, answer: Answer) -> None:
    """Put the answer at the pre-signed URL where CloudFormation waits for it."""
    import urllib3

    retries = urllib3.Retry(total=5, backoff_factor=0.5, status_forcelist=(500, 502, 503, 504), allowed_methods={"PUT"})
    with urllib3.PoolManager(retries=retries, timeout=urllib3.Timeout(10.0)) as pool:
        # A pre-signed URL is signed for no content type.
        response = pool.request("PUT", event.response_url, body=body(event, answer), headers={"content-type": ""})
    if response.status >= 400:
        raise RuntimeError(f"CloudFormation's answer URL returned HTTP status {response.status}")
