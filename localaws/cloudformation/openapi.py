"""What an OpenAPI definition of a REST API says, where the emulator's import leaves it out.

The emulator takes paths, methods, authorizers, and the type and URI of an integration. The rest of an integration,
``x-amazon-apigateway-any-method``, ``x-amazon-apigateway-auth`` and the endpoint configuration are put in here through
the API's own calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ministack.services import apigateway_v1

if TYPE_CHECKING:
    from localaws.cloudformation.resource_types import Call

type Json = dict[str, Any]

_ANY = "x-amazon-apigateway-any-method"
_AUTH = "x-amazon-apigateway-auth"
_AUTHORIZER = "x-amazon-apigateway-authorizer"
_INTEGRATION = "x-amazon-apigateway-integration"
_ENDPOINT = "x-amazon-apigateway-endpoint-configuration"
_BINARY = "x-amazon-apigateway-binary-media-types"
_POLICY = "x-amazon-apigateway-policy"
_GATEWAY_RESPONSES = "x-amazon-apigateway-gateway-responses"
_VERBS = {"get", "post", "put", "delete", "patch", "head", "options", "any"}


def install() -> None:
    """Teach the emulator's import that ``any`` is a method."""
    apigateway_v1._OPENAPI_HTTP_METHODS.add("any")


def prepared(body: Json) -> Json:
    """Return ``body`` with the any-method under the name that the emulator's import understands."""
    paths = {
        path: {("any" if verb == _ANY else verb): operation for verb, operation in item.items()}
        for path, item in (body.get("paths") or {}).items()
    }
    return body | {"paths": paths}


def endpoint_configuration(body: Json) -> Json:
    """Return the endpoint configuration of a definition: at its top, or under ``servers`` in OpenAPI 3."""
    places = [body, *(body.get("servers") or [])]
    return next((place[_ENDPOINT] for place in places if _ENDPOINT in place), {})


def complete(call: Call, api_id: str, properties: Json) -> None:
    """Put into the API ``api_id`` what its creation from ``properties`` left out."""
    body = properties.get("Body")
    body = body if isinstance(body, dict) else {}
    _settings(call, api_id, properties, body)
    for response_type, response in (body.get(_GATEWAY_RESPONSES) or {}).items():
        call("apigateway", "PUT", f"/restapis/{api_id}/gatewayresponses/{response_type}", response)
    _authorizers(call, api_id, body)
    ids = {resource["path"]: resource["id"] for resource in apigateway_v1._resources[api_id].values()}
    for path, item in (body.get("paths") or {}).items():
        for verb, operation in item.items():
            if verb.lower() in _VERBS:
                method = f"/restapis/{api_id}/resources/{ids[path.rstrip('/') or '/']}/methods/{verb.upper()}"
                _operation(call, method, operation or {})


def overwrite(api_id: str, imported: str) -> None:
    """Give the API ``api_id`` what was imported as ``imported``, which then is no more.

    As PutRestApi with ``mode=overwrite``: the id, the stages and the deployments stay.
    """
    for part in (
        apigateway_v1._resources,
        apigateway_v1._authorizers_v1,
        apigateway_v1._models,
        apigateway_v1._gateway_responses,
    ):
        part[api_id] = part.get(imported, {})
    kept = {name: apigateway_v1._rest_apis[api_id][name] for name in ("id", "createdDate", "tags")}
    apigateway_v1._rest_apis[api_id] = apigateway_v1._rest_apis[imported] | kept
    apigateway_v1._delete_rest_api(imported)


def _settings(call: Call, api_id: str, properties: Json, body: Json) -> None:
    endpoint = endpoint_configuration(body)
    disabled = properties.get("DisableExecuteApiEndpoint", endpoint.get("disableExecuteApiEndpoint"))
    settings: Json = {}
    if disabled is not None:
        settings["/disableExecuteApiEndpoint"] = str(disabled).lower() == "true"
    if "BinaryMediaTypes" not in properties and _BINARY in body:
        settings["/binaryMediaTypes"] = body[_BINARY]
    if "Policy" not in properties and _POLICY in body:
        settings["/policy"] = body[_POLICY]
    operations = [{"op": "replace", "path": path, "value": value} for path, value in settings.items()]
    if operations:
        call("apigateway", "PATCH", f"/restapis/{quote(api_id)}", {"patchOperations": operations})


def _authorizers(call: Call, api_id: str, body: Json) -> None:
    """Take away the identity source that the import makes up for authorizers of the type REQUEST without one."""
    schemes = body.get("securityDefinitions") or (body.get("components") or {}).get("securitySchemes") or {}
    ids = {
        authorizer["name"]: authorizer["id"] for authorizer in apigateway_v1._authorizers_v1.get(api_id, {}).values()
    }
    for name, scheme in schemes.items():
        authorizer = scheme.get(_AUTHORIZER) or {}
        if name in ids and authorizer.get("type") == "request" and not authorizer.get("identitySource"):
            operations = [{"op": "replace", "path": "/identitySource", "value": ""}]
            call("apigateway", "PATCH", f"/restapis/{api_id}/authorizers/{ids[name]}", {"patchOperations": operations})


def _operation(call: Call, method: str, operation: Json) -> None:
    if _INTEGRATION in operation:
        _integration(call, method, operation[_INTEGRATION])
    if _AUTH in operation:
        authorization = str(operation[_AUTH].get("type", "NONE")).upper()
        operations = [{"op": "replace", "path": "/authorizationType", "value": authorization}]
        call("apigateway", "PATCH", method, {"patchOperations": operations})


def _integration(call: Call, method: str, integration: Json) -> None:
    """Put the integration and its responses. In OpenAPI a response's key is its selection pattern."""
    whole = {name: value for name, value in integration.items() if name != "responses"}
    whole["type"] = str(whole.get("type", "")).upper()
    call("apigateway", "PUT", f"{method}/integration", whole)
    for pattern, response in (integration.get("responses") or {}).items():
        status = str(response.get("statusCode", "200"))
        selection = "" if pattern == "default" else pattern
        call(
            "apigateway", "PUT", f"{method}/integration/responses/{status}", response | {"selectionPattern": selection}
        )
