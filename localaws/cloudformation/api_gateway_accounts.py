"""``AWS::ApiGateway::Account`` as the emulator has it, refused where the account has no API yet.

"If an API Gateway resource has never been created in your AWS account, you must add a dependency on another API Gateway
resource": https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-apigateway-account.html
"""

from __future__ import annotations

from ministack.services import apigateway_v1

from localaws.cloudformation.handlers import Handlers, Properties, Provisioned

TYPE = "AWS::ApiGateway::Account"


def handlers(emulated: Handlers) -> Handlers:
    """Return what to register for the type."""

    def create(logical_id: str, properties: Properties, stack_name: str) -> Provisioned:
        if not len(apigateway_v1._rest_apis):
            raise ValueError("There is no API in this account yet: the resource needs a dependency on one.")
        provisioned: Provisioned = emulated["create"](logical_id, properties, stack_name)
        return provisioned

    return emulated | {"create": create}
