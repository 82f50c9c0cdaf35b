"""``AWS::ApiGateway::DomainName``, through CreateDomainName and UpdateDomainName, which check the truststore."""

from __future__ import annotations

import time
from typing import Any

from ministack.core.responses import get_region
from ministack.services import apigateway_v1 as store
from ministack.services.cloudformation import provisioners

from localaws.cloudformation.calls import CallFailedError, call_service
from localaws.cloudformation.handlers import Handlers, Properties, Provisioned
from localaws.cloudformation.names import lower_first
from localaws.settings import LiveSettings

TYPE = "AWS::ApiGateway::DomainName"
_DEADLINE_SECONDS = 120.0
_URI, _VERSION = (f"/mutualTlsAuthentication/truststore{it}" for it in ("Uri", "Version"))


class DomainNames:
    """Creates, updates and deletes domain names for a stack.

    Whether CloudFormation waits for a domain, and how much it sends, its pages do not say.
    """

    def __init__(self, settings: LiveSettings) -> None:
        self._settings = settings

    def handlers(self) -> Handlers:
        """Return what to register for the type."""
        return {"create": self._create, "update": self._update, "delete": self._delete}

    def _create(self, logical_id: str, properties: Properties, stack_name: str) -> Provisioned:
        """Create the domain."""
        del logical_id, stack_name
        domain = call_service("apigateway", "POST", "/domainnames", _request(properties))
        return domain["domainName"], _attributes(domain)

    def _update(self, physical_id: str, old: Properties, new: Properties, stack_name: str) -> Provisioned:
        """Send the update of a domain that the template has changed."""
        if new.get("DomainName") != physical_id:
            return self._create("", new, stack_name)  # a replacement: the old domain is deleted in the cleanup
        settings, path = self._settings.current, f"/domainnames/{physical_id}"
        before, after = _by_patch_path(_request(old)), _by_patch_path(_request(new))
        changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        if changed and settings.cloudformation_patches == "all":
            # A version that the template does not name is the latest of the object again.
            changed |= after.keys() | ({_VERSION} if _URI in after else set())
        operations = [
            {"op": "replace", "path": path, "value": after[path]} if path in after else {"op": "remove", "path": path}
            for path in sorted(changed)
        ]
        if operations:
            self._patch(path, operations)
        provisioners._reconcile_tag_map(store._domain_names[physical_id]["tags"], old, new)
        if settings.cloudformation_waits_for_domains:
            return physical_id, _attributes(_await_available(path))
        return physical_id, _attributes(call_service("apigateway", "GET", path, {}))

    def _delete(self, physical_id: str, properties: Properties) -> None:
        """Delete the domain; a domain that is gone already is no error."""
        del properties
        try:
            call_service("apigateway", "DELETE", f"/domainnames/{physical_id}", {})
        except CallFailedError as error:
            if error.status != 404:
                raise

    def _patch(self, path: str, operations: list[dict[str, Any]]) -> None:
        """Update; where CloudFormation waits, again after each refusal for being too early."""
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while True:
            try:
                call_service("apigateway", "PATCH", path, {"patchOperations": operations})
            except CallFailedError as error:
                early = error.status in (409, 429) and self._settings.current.cloudformation_waits_for_domains
                if not early or time.monotonic() + error.retry_after_seconds > deadline:
                    raise
                time.sleep(error.retry_after_seconds)
            else:
                return


def _await_available(path: str) -> dict[str, Any]:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while True:
        domain = call_service("apigateway", "GET", path, {})
        if domain.get("domainNameStatus") == "AVAILABLE" or time.monotonic() > deadline:
            return domain
        time.sleep(0.1)


def _request(properties: Properties) -> dict[str, Any]:
    """Return the properties as the request of CreateDomainName names them."""
    tags = {tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])}
    rest = {name: value for name, value in properties.items() if name != "Tags"}
    request: dict[str, Any] = lower_first(rest)
    request.setdefault("endpointConfiguration", {}).setdefault("types", ["EDGE"])
    return request | ({"tags": tags} if tags else {})


def _by_patch_path(request: dict[str, Any]) -> dict[str, Any]:
    """Return every member that an update can change, by its patch path."""
    found: dict[str, Any] = {}
    for name, value in request.items():
        if name == "mutualTlsAuthentication":
            found |= {f"/{name}/{inner}": setting for inner, setting in value.items()}
        elif name == "endpointConfiguration":
            found["/endpointConfiguration/types/0"] = value["types"][0]
        elif name not in ("domainName", "tags"):
            found[f"/{name}"] = value
    return found


def _attributes(domain: dict[str, Any]) -> dict[str, Any]:
    names = ("distributionDomainName", "distributionHostedZoneId", "regionalDomainName", "regionalHostedZoneId")
    attributes = {name[:1].upper() + name[1:]: domain[name] for name in names if name in domain}
    return attributes | {"DomainNameArn": f"arn:aws:apigateway:{get_region()}::/domainnames/{domain['domainName']}"}
