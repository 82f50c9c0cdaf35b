"""``AWS::ApiGateway::RestApi`` as the emulator has it, with what it leaves out of the body and the properties.

What an OpenAPI body says is in ``openapi.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from localaws.cloudformation import openapi
from localaws.cloudformation.handlers import Handlers, Properties, Provisioned
from localaws.cloudformation.names import lower_first

TYPE = "AWS::ApiGateway::RestApi"


def handlers(emulated: Handlers) -> Handlers:
    """Return what to register for the type."""
    apis = _RestApis(emulated)
    return emulated | {"create": apis.create, "update": apis.update}


@dataclass(frozen=True)
class _RestApis:
    emulated: Handlers

    def create(self, logical_id: str, properties: Properties, stack_name: str) -> Provisioned:
        request, body = _request(properties), properties.get("Body")
        if isinstance(body, dict):
            request["Body"] = openapi.with_any_method_renamed(body)
        api_id, attributes = self.emulated["create"](logical_id, request, stack_name)
        openapi.complete(api_id, request)
        return api_id, attributes

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack_name: str, logical_id: str | None = None
    ) -> Provisioned:
        """A changed body is imported over the API, which keeps its id and its stages; other changes go in place."""
        if old.get("Body") != new.get("Body"):
            imported, _ = self.create(logical_id or physical_id, new, stack_name)
            openapi.overwrite(physical_id, imported)
            old = old | {"Body": new.get("Body")}
        provisioned: Provisioned = self.emulated["update"](
            physical_id, _request(old), _request(new), stack_name, logical_id
        )
        return provisioned


def _request(properties: Properties) -> Properties:
    """Return the properties with the endpoint configuration of the API, and media types without ``~1`` for a slash."""
    request = properties | {"EndpointConfiguration": _endpoint(properties)}
    if "BinaryMediaTypes" in properties:
        request["BinaryMediaTypes"] = [name.replace("~1", "/") for name in properties["BinaryMediaTypes"]]
    return request


def _endpoint(properties: Properties) -> dict[str, Any]:
    """Return the endpoint configuration as the API names it; AWS's default is edge-optimized."""
    declared = properties.get("EndpointConfiguration")
    types = (properties.get("Parameters") or {}).get("endpointConfigurationTypes", "EDGE").split(",")
    return {"types": types} | (lower_first(declared) if isinstance(declared, dict) else {})
