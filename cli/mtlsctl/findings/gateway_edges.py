"""Checks of each edge of a request's path: domain → API → authorizer → function, and API → proxy.

What is deployed is read from the services themselves, and judged by configuration and by policy.
"""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any

from mtlsctl.findings import DoctorCheck, DoctorContext, attention
from mtlsctl.findings.invoking import INVOKE, let_in, option, policy_of
from mtlsctl.stack.place import Place
from mtlsctl.stack.policies import ServiceCall, admits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mtlsctl.report import Finding

_GATEWAY = "apigateway.amazonaws.com"
_REFUSES = "The gateway answers 503"
_STAGE = "live"


def gateway(context: DoctorContext) -> Iterator[Finding]:
    """What keeps everybody out of the gateway, or lets them in unasked.

    It takes `apigateway:GET`, `lambda:GetPolicy` and `lambda:GetFunctionConcurrency`.
    """
    api = context.physical("GatewayApi")
    if api:
        yield from _domain_leads_to(api, context)
        yield from _authorizer(api, context)
    proxy = context.physical("MtlsProxyFunction")
    if proxy:
        for logical_id, permission in (("GatewayApi", "GatewayMayInvokeProxy"), ("ProxyApi", "ProxyApiMayInvokeProxy")):
            if (it := context.physical(logical_id)) and permission in context.deployment.resources:
                yield from _proxy_is_reached(it, proxy, permission, context)


def _domain_leads_to(api: str, context: DoctorContext) -> Iterator[Finding]:
    domain, gateway = context.physical("GatewayDomain"), context.client("apigateway")
    deploy = f"aws apigateway create-deployment --rest-api-id {api} --stage-name {_STAGE}"
    try:
        stage = gateway.get_stage(restApiId=api, stageName=_STAGE)
        if not stage.get("deploymentId"):
            yield attention(f"REST API {api}", f"its stage {_STAGE} has nothing deployed", deploy, _REFUSES)
    except gateway.exceptions.NotFoundException:
        yield attention(f"REST API {api}", f"its stage {_STAGE} is gone, so every request is refused", deploy, _REFUSES)
    if not domain:
        return
    try:
        mappings = gateway.get_base_path_mappings(domainName=domain).get("items", [])
    except gateway.exceptions.NotFoundException:
        return  # that the domain is gone is told by itself
    root = next((it for it in mappings if it.get("basePath", "(none)") in {"(none)", ""}), None)
    if root is None:
        make = f"aws apigateway create-base-path-mapping --domain-name {domain} --rest-api-id {api} --stage {_STAGE}"
        yield attention(f"domain {domain}", "it leads to no API, so every request is refused", make, _REFUSES)
    elif (root["restApiId"], root.get("stage")) != (api, _STAGE):
        operations = f"op=replace,path=/restapiId,value={api} op=replace,path=/stage,value={_STAGE}"
        yield attention(
            f"domain {domain}",
            f"it leads to the API {root['restApiId']}, stage {root.get('stage')}, not to {api}",
            f"aws apigateway update-base-path-mapping --domain-name {domain} --base-path '(none)'"
            f" --patch-operations {operations}",
            _REFUSES,
        )


def _authorizer(api: str, context: DoctorContext) -> Iterator[Finding]:
    """The authorizer of every method, and that API Gateway may invoke its function."""
    function, place, gateway = (
        context.physical("AuthorizerFunction"),
        Place.of(context.deployment),
        context.client("apigateway"),
    )
    if not function:
        return
    uri, subject = place.integration(function), f"REST API {api}"
    deploy = f"aws apigateway create-deployment --rest-api-id {api} --stage-name {_STAGE}"
    found = gateway.get_authorizers(restApiId=api).get("items", [])
    good = [it for it in found if it.get("authorizerUri") == uri and not it.get("authorizerCredentials")]
    if not found:
        yield attention(
            subject,
            "it has no authorizer, so nobody asks who is revoked",
            f"aws apigateway create-authorizer --rest-api-id {api} --name clientCertificate --type REQUEST"
            f" --authorizer-result-ttl-in-seconds 0 --authorizer-uri {quote(uri)}",
            _REFUSES,
        )
        return
    if not good:
        operations = [{"op": "replace", "path": "/authorizerUri", "value": uri}]
        if found[0].get("authorizerCredentials"):
            operations.append({"op": "replace", "path": "/authorizerCredentials", "value": ""})
        yield attention(
            subject,
            f"its authorizer calls {found[0].get('authorizerUri')}, not the stack's function by that function's policy",
            f"aws apigateway update-authorizer --rest-api-id {api} --authorizer-id {found[0]['id']}"
            f" {option('patch-operations', operations)} && {deploy}",
            _REFUSES,
        )
    authorizer = (good or found)[0]["id"]
    yield from _methods_ask(api, {it["id"] for it in good or found[:1]}, authorizer, context)
    source = place.arn("execute-api", f"{api}/authorizers/{authorizer}")
    call = ServiceCall(_GATEWAY, INVOKE, place.function(function), source)
    policy = policy_of(context, function)
    if not admits(policy, call):
        everybody = ServiceCall(_GATEWAY, INVOKE, call.resource, place.arn("execute-api", f"{api}/authorizers/*"))
        yield attention(
            "AuthorizerFunction",
            "it does not let API Gateway in, so every request is answered with 503",
            let_in(function, policy, "GatewayMayInvokeAuthorizer", everybody),
            _REFUSES,
        )
    yield from _is_held_back(function, context)


def _is_held_back(function: str, context: DoctorContext) -> Iterator[Finding]:
    """Told by itself in `doctor`; here for whoever asks about the gateway alone."""
    held = context.client("lambda").get_function_concurrency(FunctionName=function)
    if held.get("ReservedConcurrentExecutions") == 0:
        yield attention(
            "AuthorizerFunction",
            "it is held back: its reserved concurrency is 0",
            f"aws lambda delete-function-concurrency --function-name {function}",
            _REFUSES,
        )


def _methods_ask(api: str, good: set[str], authorizer: str, context: DoctorContext) -> Iterator[Finding]:
    for path, resource, verb, method in _methods(api, context):
        if method.get("authorizationType") == "CUSTOM" and method.get("authorizerId") in good:
            continue
        operations = f"op=replace,path=/authorizationType,value=CUSTOM op=replace,path=/authorizerId,value={authorizer}"
        yield attention(
            f"REST API {api}, {verb} {path}",
            "it does not ask the stack's authorizer, so whoever is revoked comes in",
            f"aws apigateway update-method --rest-api-id {api} --resource-id {resource} --http-method {verb}"
            f" --patch-operations {operations}"
            f" && aws apigateway create-deployment --rest-api-id {api} --stage-name {_STAGE}",
            _REFUSES,
        )


def _methods(api: str, context: DoctorContext) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Path, resource, verb and settings of each method."""
    pages = context.client("apigateway").get_paginator("get_resources").paginate(restApiId=api, embed=["methods"])
    for page in pages:
        for resource in page.get("items", []):
            for verb, method in (resource.get("resourceMethods") or {}).items():
                yield resource["path"], resource["id"], verb, method


def _proxy_is_reached(api: str, function: str, permission: str, context: DoctorContext) -> Iterator[Finding]:
    place = Place.of(context.deployment)
    policy, arn = policy_of(context, function), place.function(function)
    for path, resource, verb, method in _methods(api, context):
        if path.startswith("/proxy/") and method.get("methodIntegration", {}).get("uri") != place.integration(function):
            operations = f"op=replace,path=/uri,value={place.integration(function)}"
            yield attention(
                f"REST API {api}, {verb} {path}",
                "it does not call the stack's proxy",
                f"aws apigateway update-integration --rest-api-id {api} --resource-id {resource} --http-method {verb}"
                f" --patch-operations {operations}"
                f" && aws apigateway create-deployment --rest-api-id {api} --stage-name {_STAGE}",
            )
    # How API Gateway names a method that stands for any, AWS does not say.
    sources = [place.arn("execute-api", f"{api}/{_STAGE}/{it}/proxy/{{route}}") for it in ("GET", "POST", "ANY")]
    if not all(admits(policy, ServiceCall(_GATEWAY, INVOKE, arn, it)) for it in sources):
        everything = ServiceCall(_GATEWAY, INVOKE, arn, place.arn("execute-api", f"{api}/*/*/proxy/*"))
        yield attention(
            "MtlsProxyFunction",
            f"it does not let API Gateway in for the API {api}, so what is sent through it fails",
            let_in(function, policy, permission, everything),
        )


def _gateway_is_led_to(context: DoctorContext) -> Iterator[Finding]:
    return (it for it in gateway(context) if "its reserved concurrency is 0" not in it.what)


CHECKS = (
    DoctorCheck(
        "the domain leads to the API, and the API to its functions",
        ("apigateway:GET", "lambda:GetPolicy", "lambda:GetFunctionConcurrency"),
        _gateway_is_led_to,
    ),
)
