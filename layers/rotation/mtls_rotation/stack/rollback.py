"""Whether CloudFormation takes back what it did, which a custom resource is not told.

Of a creation that is rolled back it asks the custom resource to delete itself, as of a stack that is deleted; of an
update, to update itself to what was before. What the failed operation made goes then, secrets included
(RetainExceptOnCreate).
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import StackTypeDef

log = logging.getLogger(__name__)


def taken_back_since(client: CloudFormationClient, stack_id: str) -> datetime | None:
    """Since when all that was made is taken back: the begin of the operation that failed. None if nothing is."""
    (stack,) = client.describe_stacks(StackName=stack_id)["Stacks"]
    return operation_taken_back(stack)


def goes(client: CloudFormationClient, stack_id: str) -> bool:
    """Whether the stack itself goes, where its custom resource is told to.

    That is told to it in the rollback of an update that made it, too: of a stack that began with what another kept.
    Then the data was there before, and stays.
    """
    try:
        (stack,) = client.describe_stacks(StackName=stack_id)["Stacks"]
    except (ClientError, BotoCoreError):
        log.exception("taken to be deleted", extra={"stack": stack_id})
        return True
    return not stack["StackStatus"].startswith("UPDATE_")


def operation_taken_back(stack: StackTypeDef) -> datetime | None:
    """When the operation began that a stack is rolled back from; None if it is not."""
    status = stack["StackStatus"]
    if status.startswith("ROLLBACK_"):
        return stack["CreationTime"]
    if status.startswith("UPDATE_ROLLBACK_"):
        return stack.get("LastUpdatedTime", stack["CreationTime"])
    return None
