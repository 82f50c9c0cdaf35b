"""The events of CloudFormation on EventBridge: which status a stack has come to.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/event-detail-stack-status-change.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ministack.services import eventbridge

_STACK = "AWS::CloudFormation::Stack"


def record(
    emulated: Callable[..., None],
    stack_id: str,
    stack_name: str,
    logical_id: str,
    resource_type: str,
    status: str,
    *rest: Any,
    **more: Any,
) -> None:
    """Record an event of a stack, and send what is about the stack itself to the bus."""
    emulated(stack_id, stack_name, logical_id, resource_type, status, *rest, **more)
    if resource_type != _STACK or logical_id != stack_name:
        return
    reason = rest[0] if rest else more.get("reason", "")
    detail = {"stack-id": stack_id, "status-details": {"status": status, "status-reason": reason}}
    entry = {
        "Source": "aws.cloudformation",
        "DetailType": "CloudFormation Stack Status Change",
        "Resources": [stack_id],
        "Detail": json.dumps(detail),
    }
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
