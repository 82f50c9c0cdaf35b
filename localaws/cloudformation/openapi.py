"""What an OpenAPI definition of a REST API says, where the emulator's import leaves it out.

The emulator takes paths, methods, authorizers, and the type and URI of an integration. The rest of an integration,
``x-amazon-apigateway-any-method``, ``x-amazon-apigateway-auth`` and the endpoint configuration follow through the API's
own calls.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ministack.services import apigateway_v1

from localaws.cloudformation.calls import call_service

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


def with_any(methods: set[str]) -> set[str]:
    """Return the methods that an import takes, with ``any``."""
    return methods | {"any"}


def with_any_method_renamed(body: Json) -> Json:
    """Return ``body`` with the any-method under the name that :func:`with_any` lets the import take."""
    paths = {
        path: {("any" if verb == _ANY else verb): operation for verb, operation in item.items()}
        for path, item in (body.get("paths") or {}).items()
    }
    return body | {"paths": paths}


def endpoint_configuration(body: Json) -> Json:
    """Return the endpoint configuration of a definition: at its top, or under ``servers`` in OpenAPI 3."""
    places = [body, *(body.get("servers") or [])]
    return next((place[_ENDPOINT] for place in places if _ENDPOINT in place), {})


def complete(api_id: str, properties: Json) -> None:
    """Put into the API ``api_id`` what its creation from ``properties`` left out."""
    body = properties.get("Body")
    body = body if isinstance(body, dict) else {}
    _settings(api_id, properties, body)
    for response_type, response in (body.get(_GATEWAY_RESPONSES) or {}).items():
        call_service("apigateway", "PUT", f"/restapis/{api_id}/gatewayresponses/{response_type}", response)
    _authorizers(api_id, body)
    ids = {resource["path"]: resource["id"] for resource in apigateway_v1._resources[api_id].values()}
    for path, item in (body.get("paths") or {}).items():
        for verb, operation in item.items():
            if verb.lower() in _VERBS:
                method = f"/restapis/{api_id}/resources/{ids[path.rstrip('/') or '/']}/methods/{verb.upper()}"
                _operation(method, operation or {})


def overwrite(api_id: str, imported: str) -> None:
    """Give the API ``api_id`` what was imported as ``imported``, and delete that one.

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


def _settings(api_id: str, properties: Json, body: Json) -> None:
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
        call_service("apigateway", "PATCH", f"/restapis/{quote(api_id)}", {"patchOperations": operations})


def _authorizers(api_id: str, body: Json) -> None:
    """Remove the identity source that the import invents for authorizers of the type REQUEST without one."""
    schemes = body.get("securityDefinitions") or (body.get("components") or {}).get("securitySchemes") or {}
    ids = {
        authorizer["name"]: authorizer["id"] for authorizer in apigateway_v1._authorizers_v1.get(api_id, {}).values()
    }
    for name, scheme in schemes.items():
        authorizer = scheme.get(_AUTHORIZER) or {}
        if name in ids and authorizer.get("type") == "request" and not authorizer.get("identitySource"):
            operations = [{"op": "replace", "path": "/identitySource", "value": ""}]
            call_service(
                "apigateway", "PATCH", f"/restapis/{api_id}/authorizers/{ids[name]}", {"patchOperations": operations}
            )


def _operation(method: str, operation: Json) -> None:
    if _INTEGRATION in operation:
        _integration(method, operation[_INTEGRATION])
    if _AUTH in operation:
        authorization = str(operation[_AUTH].get("type", "NONE")).upper()
        operations = [{"op": "replace", "path": "/authorizationType", "value": authorization}]
        call_service("apigateway", "PATCH", method, {"patchOperations": operations})


def _integration(method: str, integration: Json) -> None:
    """Put the integration and its responses. In OpenAPI a response's key is its selection pattern."""
    request = {name: value for name, value in integration.items() if name != "responses"}
    request["type"] = str(request.get("type", "")).upper()
    call_service("apigateway", "PUT", f"{method}/integration", request)
    for pattern, response in (integration.get("responses") or {}).items():
        status = str(response.get("statusCode", "200"))
        selection = "" if pattern == "default" else pattern
        call_service(
            "apigateway", "PUT", f"{method}/integration/responses/{status}", response | {"selectionPattern": selection}
        )
