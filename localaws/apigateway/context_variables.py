"""``$context`` of a request to a REST API, for access logs and gateway responses. Pure.

The names are those of the page on variables for access logging.
"""

from __future__ import annotations

import re
from typing import Any

from localaws.apigateway.exchange import Exchange

type Json = dict[str, Any]

_VARIABLE = re.compile(r"\$context((?:\.[A-Za-z0-9_]+)+)")


def of(exchange: Exchange) -> Json:
    """Return the variables that are known before there is an answer, by name."""
    context = exchange.context
    request = exchange.request
    identity = {"sourceIp": request.source_ip, "userAgent": "".join(request.values("user-agent")[-1:])}
    if exchange.client_certificate is not None:
        identity["clientCert"] = exchange.client_certificate  # type: ignore[assignment]
    integration = exchange.integration
    return {
        "accountId": context.get("accountId"),
        "apiId": exchange.api_id,
        "authorizer": exchange.authorizer,
        "domainName": exchange.domain_name,
        "domainPrefix": exchange.domain_name.partition(".")[0],
        "error": exchange.error,
        "extendedRequestId": exchange.extended_request_id,
        "httpMethod": request.method,
        "identity": identity | context.get("identity", {}),
        "integration": integration | {"requestId": None},
        "integrationErrorMessage": integration.get("error"),
        "integrationLatency": integration.get("latency"),
        "integrationStatus": integration.get("integrationStatus"),
        "path": exchange.stage_path,
        "protocol": request.protocol,
        "requestId": exchange.request_id,
        "requestTime": exchange.received_at.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "requestTimeEpoch": int(exchange.received_at.timestamp() * 1000),
        "resourceId": context.get("resourceId"),
        "resourcePath": context.get("resourcePath"),
        "stage": exchange.stage,
        "xrayTraceId": exchange.trace_id,
    }


def render(template: str, variables: Json, *, absent: str | None) -> str:
    """Return ``template`` with its variables filled in; one without a value becomes ``absent``, or stays if None."""

    def value_of(match: re.Match[str]) -> str:
        value: Any = variables
        for name in match[1][1:].split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if value is None or value == "" or isinstance(value, dict):
            return match[0] if absent is None else absent
        return str(value)

    return _VARIABLE.sub(value_of, template)
