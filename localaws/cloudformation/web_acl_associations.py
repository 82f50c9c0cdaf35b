"""``AWS::WAFv2::WebACLAssociation``, through the calls of AWS WAF. No request is looked at by a web ACL here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ministack.services import apigateway_v1 as apis
from ministack.services.cloudformation import provisioners

if TYPE_CHECKING:
    from localaws.cloudformation.resource_types import Call

type Properties = dict[str, Any]
type Provisioned = tuple[str, dict[str, Any]]

TYPE = "AWS::WAFv2::WebACLAssociation"


def install(call: Call) -> None:
    """Register the type; ``call`` reaches the services."""

    def create(logical_id: str, properties: Properties, stack_name: str) -> Provisioned:
        del logical_id, stack_name
        resource, acl = properties["ResourceArn"], properties["WebACLArn"]
        if not _exists(resource):
            raise ValueError(f"WAFNonexistentItemException: there is no {resource} to associate a web ACL with.")
        call("wafv2", "POST", "AssociateWebACL", {"ResourceArn": resource, "WebACLArn": acl})
        return f"{acl}|{resource}", {}

    def delete(physical_id: str, properties: Properties) -> None:
        acl, _, resource = physical_id.partition("|")
        # Of a replaced association the resource has another web ACL by now, which stays.
        if resource and resource in associated(acl):
            call("wafv2", "POST", "DisassociateWebACL", {"ResourceArn": resource})

    def associated(acl: str) -> list[str]:
        try:
            arns: list[str] = call("wafv2", "POST", "ListResourcesForWebACL", {"WebACLArn": acl})["ResourceArns"]
        except ValueError:  # the web ACL is gone, and its associations with it
            return []
        return arns

    provisioners._RESOURCE_HANDLERS[TYPE] = {"create": create, "delete": delete}
    provisioners._REPLACING_PROPERTIES[TYPE] = ("ResourceArn", "WebACLArn")


def _exists(resource_arn: str) -> bool:
    """Whether a stage of a REST API exists; other kinds of resources are not looked for."""
    _, found, path = resource_arn.partition("::/restapis/")
    if not found:
        return True
    api_id, _, stage = path.partition("/stages/")
    return stage in apis.stages_for_api(api_id)
