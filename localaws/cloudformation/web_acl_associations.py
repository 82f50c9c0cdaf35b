"""``AWS::WAFv2::WebACLAssociation``, through the calls of AWS WAF. No web ACL inspects a request here."""

from __future__ import annotations

from ministack.services import apigateway_v1 as apis

from localaws.cloudformation.calls import CallFailedError, call_service
from localaws.cloudformation.handlers import Handlers, Properties, Provisioned

TYPE = "AWS::WAFv2::WebACLAssociation"
REPLACING = ("ResourceArn", "WebACLArn")


def handlers() -> Handlers:
    """Return what to register for the type."""
    return {"create": create, "delete": delete}


def create(logical_id: str, properties: Properties, stack_name: str) -> Provisioned:
    """Associate the web ACL with the resource, which has to exist."""
    del logical_id, stack_name
    resource, acl = properties["ResourceArn"], properties["WebACLArn"]
    if not _exists(resource):
        raise ValueError(f"WAFNonexistentItemException: there is no {resource} to associate a web ACL with.")
    call_service("wafv2", "POST", "AssociateWebACL", {"ResourceArn": resource, "WebACLArn": acl})
    return f"{acl}|{resource}", {}


def delete(physical_id: str, properties: Properties) -> None:
    """End the association, if it still is the resource's: a replacement has put another web ACL there."""
    del properties
    acl, _, resource = physical_id.partition("|")
    if resource and resource in _associated(acl):
        call_service("wafv2", "POST", "DisassociateWebACL", {"ResourceArn": resource})


def _associated(acl: str) -> list[str]:
    try:
        arns: list[str] = call_service("wafv2", "POST", "ListResourcesForWebACL", {"WebACLArn": acl})["ResourceArns"]
    except CallFailedError:  # the web ACL is gone, and its associations with it
        return []
    return arns


def _exists(resource_arn: str) -> bool:
    """Whether a stage of a REST API exists; other kinds of resources count as existing."""
    _, found, path = resource_arn.partition("::/restapis/")
    if not found:
        return True
    api_id, _, stage = path.partition("/stages/")
    return stage in apis.stages_for_api(api_id)
