"""Whether CloudFormation takes back what it did, which a custom resource is not told.

Of a creation that is rolled back it asks the custom resource to delete itself, as of a stack that is deleted; of an
update, to update itself to what was before. What the failed operation made goes then, secrets included
(RetainExceptOnCreate).
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import StackTypeDef


def taken_back_since(client: CloudFormationClient, stack_id: str) -> datetime | None:
    """Since when all that was made is taken back: the begin of the operation that failed. None if nothing is."""
    (stack,) = client.describe_stacks(StackName=stack_id)["Stacks"]
    return operation_taken_back(stack)


def operation_taken_back(stack: StackTypeDef) -> datetime | None:
    """When the operation began that a stack is rolled back from; None if it is not."""
    status = stack["StackStatus"]
    if status.startswith("ROLLBACK_"):
        return stack["CreationTime"]
    if status.startswith("UPDATE_ROLLBACK_"):
        return stack.get("LastUpdatedTime", stack["CreationTime"])
    return None
