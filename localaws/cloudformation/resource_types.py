"""CloudFormation resource types: those that the emulator lacks, and those where it departs from AWS.

Each goes through the same API rules as a request would. What an OpenAPI body says is in ``openapi.py``; stages and the
associations of web ACLs have modules of their own.
"""

from __future__ import annotations

import json
import time
from typing import Any, Protocol

from ministack import app as emulator
from ministack.services.cloudformation import provisioners
from ministack.services.cloudformation import stacks as operations

from localaws.cloudformation import openapi, stages, web_acl_associations

type Properties = dict[str, Any]
type Provisioned = tuple[str, dict[str, Any]]

_DEADLINE_SECONDS = 120.0
_SECRET_TYPE = "AWS::SecretsManager::Secret"  # noqa: S105
_SCHEDULE_TYPE = "AWS::SecretsManager::RotationSchedule"
_DOMAIN_TYPE = "AWS::ApiGateway::DomainName"
_API_TYPE = "AWS::ApiGateway::RestApi"
_ON_WORKER_THREADS = (_SCHEDULE_TYPE, _DOMAIN_TYPE, _API_TYPE, stages.TYPE, web_acl_associations.TYPE)
_ACTIONS_OF = {"secretsmanager": "secretsmanager", "wafv2": "AWSWAF_20190729"}


class Call(Protocol):
    """Calls a service as a request would, from the worker thread of a stack operation."""

    def __call__(self, service: str, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer, and raise :class:`CallFailedError` if it is an error."""
        ...


class CallFailedError(ValueError):
    """A service refused; the message is what the stack's event shows."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, Any]) -> None:
        super().__init__(f"{message} (Service error: {code}; Status Code: {status})")
        self.status = status
        self.retry_after = float(headers.get("Retry-After", 1))


def call_service(service: str, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Call a service of the emulator; where it has actions and no paths, ``path`` is the action."""
    headers: dict[str, str] = {}
    if service in _ACTIONS_OF:
        headers, path = {"x-amz-target": f"{_ACTIONS_OF[service]}.{path}"}, "/"
    handler = emulator.SERVICE_HANDLERS[service]
    status, answered, raw = emulator.call_service_handler_sync(
        handler, method, path, headers, json.dumps(body).encode(), {}
    )
    answer: dict[str, Any] = json.loads(raw) if raw else {}
    if status >= 400:
        raise CallFailedError(status, answer.get("__type", "Error"), str(answer.get("message")), answered)
    return answer


def install() -> None:
    """Register the resource types with the emulator's CloudFormation."""
    registry: dict[str, dict[str, Any]] = provisioners._RESOURCE_HANDLERS
    registry[_SCHEDULE_TYPE] = {
        "create": create_schedule,
        "update": update_schedule,
        "delete": delete_schedule,
    }
    registry[_DOMAIN_TYPE] = {
        "create": create_domain,
        "update": update_domain,
        "delete": delete_domain,
    }
    registry[_SECRET_TYPE] |= {
        "create": create_secret,
        "update": update_secret,
        "update_with_logical_id": True,
        "delete": delete_secret,
    }
    registry[_API_TYPE] |= {
        "create": create_api,
        "update": update_api,
        "update_with_logical_id": True,
    }
    provisioners._REPLACING_PROPERTIES[_SCHEDULE_TYPE] = ("SecretId",)
    openapi.install()
    stages.install(call_service)
    web_acl_associations.install(call_service)
    # Types that call services have to leave the event loop; the emulator has a fixed list for that, no registry.
    listed = operations._runs_on_worker_thread
    operations._runs_on_worker_thread = lambda name: name in _ON_WORKER_THREADS or listed(name)


# -- AWS::SecretsManager::RotationSchedule


def create_schedule(logical_id: str, properties: Properties, stack_name: str) -> Provisioned:
    """Configure rotation, and rotate at once unless the template says not to; ``Ref`` is the secret's ARN."""
    del logical_id, stack_name
    if "HostedRotationLambda" in properties:
        raise ValueError(f"{_SCHEDULE_TYPE}: HostedRotationLambda is not supported here; give a RotationLambdaARN.")
    request = {
        "SecretId": properties.get("SecretId"),
        "RotationLambdaARN": properties.get("RotationLambdaARN"),
        "RotationRules": _rules(properties),
        "RotateImmediately": _true(properties.get("RotateImmediatelyOnUpdate", True)),
    }
    present = {name: value for name, value in request.items() if value is not None}
    answer = call_service("secretsmanager", "POST", "RotateSecret", present)
    return answer["ARN"], {"Id": answer["ARN"]}


def update_schedule(physical_id: str, old: Properties, new: Properties, stack_name: str) -> Provisioned:
    """Put the new configuration in force; another secret is another schedule."""
    provisioned = create_schedule("", new, stack_name)
    if provisioned[0] != physical_id:
        delete_schedule(physical_id, old)
    return provisioned


def delete_schedule(physical_id: str, properties: Properties) -> None:
    """Cancel the rotation; nothing to do when the secret, or its rotation, is gone already."""
    del properties
    try:
        call_service("secretsmanager", "POST", "CancelRotateSecret", {"SecretId": physical_id})
    except CallFailedError:
        return


def _rules(properties: Properties) -> dict[str, Any] | None:
    rules = properties.get("RotationRules")
    if rules is None:
        return None
    plain: dict[str, Any] = dict(rules)
    if "AutomaticallyAfterDays" in plain:
        plain["AutomaticallyAfterDays"] = int(plain["AutomaticallyAfterDays"])
    return plain


def _true(value: Any) -> bool:
    return str(value).lower() == "true"


# -- AWS::SecretsManager::Secret


def create_secret(logical_id: str, properties: Properties, stack_name: str) -> Provisioned:
    """As the emulator does, with two corrections: ``Ref`` is the ARN, and no value means no version."""
    name, attributes = _emulated_secret.create(logical_id, properties, stack_name)
    if "SecretString" not in properties and "GenerateSecretString" not in properties:
        provisioners._sm._secrets[name]["Versions"].clear()
    return attributes["Arn"], attributes


def update_secret(
    physical_id: str, old: Properties, new: Properties, stack_name: str, logical_id: str | None = None
) -> Provisioned:
    """As the emulator does, with the ARN for an identity."""
    _, attributes = _emulated_secret.update(_secret_name(physical_id), old, new, stack_name, logical_id)
    return attributes["Arn"], attributes


def delete_secret(physical_id: str, properties: Properties) -> None:
    """As the emulator does, with the ARN for an identity."""
    _emulated_secret.delete(_secret_name(physical_id), properties)


def _secret_name(physical_id: str) -> str:
    return next((name for name, r in provisioners._sm._secrets.items() if r["ARN"] == physical_id), physical_id)


class _Emulated:
    """The emulator's own functions for a type, taken before they are replaced."""

    def __init__(self, resource_type: str) -> None:
        functions = provisioners._RESOURCE_HANDLERS[resource_type]
        self.create = functions["create"]
        self.update = functions["update"]
        self.delete = functions["delete"]


_emulated_secret = _Emulated(_SECRET_TYPE)
_emulated_api = _Emulated(_API_TYPE)


# -- AWS::ApiGateway::DomainName


def create_domain(logical_id: str, properties: Properties, stack_name: str) -> Provisioned:
    """Create the domain through CreateDomainName, so that its truststore is checked."""
    del logical_id, stack_name
    domain = call_service("apigateway", "POST", "/domainnames", _domain_request(properties))
    return domain["domainName"], _domain_attributes(domain)


def update_domain(physical_id: str, old: Properties, new: Properties, stack_name: str) -> Provisioned:
    """Send what differs between the two templates to UpdateDomainName, and wait until it is AVAILABLE.

    What the template did not change is left as it is, a truststore version that was set since included.
    """
    if new.get("DomainName") != physical_id:
        return create_domain("", new, stack_name)  # a replacement: the engine deletes the old one in its cleanup
    before, after = _flat(_domain_request(old)), _flat(_domain_request(new))
    operations = [{"op": "replace", "path": p, "value": v} for p, v in after.items() if before.get(p) != v]
    operations += [{"op": "remove", "path": path} for path in before.keys() - after.keys()]
    path = f"/domainnames/{physical_id}"
    if operations:
        _when_let(path, operations)
    provisioners._reconcile_tag_map(provisioners._apigw_v1._domain_names[physical_id]["tags"], old, new)
    return physical_id, _domain_attributes(_when_available(path))


def delete_domain(physical_id: str, properties: Properties) -> None:
    """Delete the domain; that it is gone already is no error."""
    del properties
    try:
        call_service("apigateway", "DELETE", f"/domainnames/{physical_id}", {})
    except CallFailedError as error:
        if error.status != 404:
            raise


def _when_let(path: str, operations: list[dict[str, Any]]) -> None:
    """Update, again after each refusal for being too early, as CloudFormation does."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while True:
        try:
            call_service("apigateway", "PATCH", path, {"patchOperations": operations})
        except CallFailedError as error:
            if error.status not in (409, 429) or time.monotonic() + error.retry_after > deadline:
                raise
            time.sleep(error.retry_after)
        else:
            return


def _when_available(path: str) -> dict[str, Any]:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while True:
        domain = call_service("apigateway", "GET", path, {})
        if domain.get("domainNameStatus") == "AVAILABLE" or time.monotonic() > deadline:
            return domain
        time.sleep(0.1)


def _domain_request(properties: Properties) -> dict[str, Any]:
    """Return the properties as the request of CreateDomainName names them."""
    tags = {tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])}
    rest = {name: value for name, value in properties.items() if name != "Tags"}
    request: dict[str, Any] = _lower_first(rest)
    request.setdefault("endpointConfiguration", {}).setdefault("types", ["EDGE"])
    return request | ({"tags": tags} if tags else {})


def _lower_first(value: Any) -> Any:
    if isinstance(value, dict):
        return {name[:1].lower() + name[1:]: _lower_first(inner) for name, inner in value.items()}
    return value


def _flat(request: dict[str, Any]) -> dict[str, Any]:
    """Return the patch path of every member that an update can change."""
    flat: dict[str, Any] = {}
    for name, value in request.items():
        if name == "mutualTlsAuthentication":
            flat |= {f"/{name}/{inner}": setting for inner, setting in value.items()}
        elif name == "endpointConfiguration":
            flat["/endpointConfiguration/types/0"] = value["types"][0]
        elif name not in ("domainName", "tags"):
            flat[f"/{name}"] = value
    return flat


def _domain_attributes(domain: dict[str, Any]) -> dict[str, Any]:
    names = ("distributionDomainName", "distributionHostedZoneId", "regionalDomainName", "regionalHostedZoneId")
    attributes = {name[:1].upper() + name[1:]: domain[name] for name in names if name in domain}
    region = provisioners.get_region()
    return attributes | {"DomainNameArn": f"arn:aws:apigateway:{region}::/domainnames/{domain['domainName']}"}


# -- AWS::ApiGateway::RestApi


def create_api(logical_id: str, properties: Properties, stack_name: str) -> Provisioned:
    """As the emulator does, then with what it leaves out of the body and the properties."""
    body = properties.get("Body")
    prepared = _named_as_the_api_does(properties)
    if isinstance(body, dict):
        prepared["Body"] = openapi.prepared(body)
    api_id, attributes = _emulated_api.create(logical_id, prepared, stack_name)
    openapi.complete(call_service, api_id, prepared)
    return api_id, attributes


def update_api(
    physical_id: str, old: Properties, new: Properties, stack_name: str, logical_id: str | None = None
) -> Provisioned:
    """A changed body is imported over the API, which keeps its id and its stages; other changes go in place."""
    if old.get("Body") != new.get("Body"):
        imported, _ = create_api(logical_id or physical_id, new, stack_name)
        openapi.overwrite(physical_id, imported)
        old = old | {"Body": new.get("Body")}
    configured = [_named_as_the_api_does(part) for part in (old, new)]
    provisioned: Provisioned = _emulated_api.update(physical_id, *configured, stack_name, logical_id)
    return provisioned


def _named_as_the_api_does(properties: Properties) -> Properties:
    """Return the properties with the endpoint configuration of the API, and media types without ``~1`` for a slash."""
    named = properties | {"EndpointConfiguration": _endpoint(properties)}
    if "BinaryMediaTypes" in properties:
        named["BinaryMediaTypes"] = [name.replace("~1", "/") for name in properties["BinaryMediaTypes"]]
    return named


def _endpoint(properties: Properties) -> dict[str, Any]:
    """Return the endpoint configuration as the API names it; edge-optimized is what AWS takes by default."""
    declared = properties.get("EndpointConfiguration")
    types = (properties.get("Parameters") or {}).get("endpointConfigurationTypes", "EDGE").split(",")
    return {"types": types} | (_lower_first(declared) if isinstance(declared, dict) else {})
