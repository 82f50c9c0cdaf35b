"""Checks of the way to the gateway, and of what is left to do where DNS is the operator's."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mtlsctl.findings import DoctorCheck, DoctorContext, attention, unknown
from mtlsctl.findings.secrets import SURVEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mtlsctl.report import Finding

_HTTPS = 443


def _name_leads_to_the_gateway(context: DoctorContext) -> Iterator[Finding]:
    """Where certificates are proved somewhere else, the name may be one that only others resolve."""
    outputs, parameters = context.deployment.outputs, context.deployment.parameters
    target, name = outputs.get("GatewayTarget"), parameters.get("DomainName")
    endpoint = parameters.get("EndpointUrl")
    if not target or not name or (endpoint and urlsplit(endpoint).hostname != name):
        return
    addresses = _addresses(name)
    if not addresses:
        yield attention(
            f"domain name {name}",
            "it resolves to nothing, so no client reaches the gateway and no certificate can be proved",
            f"Point it to {target}, by a CNAME record or, in Route 53, an alias. Then: "
            f"mtlsctl rotate {context.deployment.name}/client --wait",
            "MTLS-203",
        )
    elif not addresses & _addresses(target):
        # API Gateway's name stands for more addresses than one answer holds.
        yield unknown(
            f"domain name {name}",
            f"it resolves to none of the addresses that {target} has just now",
            "Ask again in a minute; if that is still so, point it there, unless something of yours stands in front.",
        )


def _first_rotation_was_made(context: DoctorContext) -> Iterator[Finding]:
    """A stack that waits for DNS has a first certificate that was never proved."""
    outputs = context.deployment.outputs
    if "GatewaySteps" not in outputs:
        return
    for secret in context.survey.secrets:
        if secret.arn == outputs["ClientSecret"] and secret.last_rotated is None:
            yield attention(
                secret.name,
                "it has never been rotated, so nothing has proved yet that the gateway accepts it",
                f"Once DNS points to the gateway: mtlsctl rotate {secret.name} --wait",
            )


def _requests_can_be_logged(context: DoctorContext) -> Iterator[Finding]:
    if "GatewayLogs" not in context.deployment.outputs:
        return
    if not context.client("apigateway").get_account().get("cloudwatchRoleArn"):
        yield attention(
            "API Gateway",
            "it has no role to write logs by in this account and region, so requests leave no line",
            "aws apigateway update-account --patch-operations op=replace,path=/cloudwatchRoleArn,value=ROLE_ARN",
        )


def _addresses(host: str) -> set[str]:
    """What a name resolves to from here; nothing where it does not."""
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, _HTTPS, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return set()


CHECKS = (
    DoctorCheck("DNS leads to the gateway", ("cloudformation:DescribeStacks",), _name_leads_to_the_gateway),
    DoctorCheck("the first certificate was proved at the gateway", SURVEY, _first_rotation_was_made),
    DoctorCheck("the gateway's requests can be logged", ("apigateway:GET",), _requests_can_be_logged),
)
