"""Custom domain names of API Gateway as targets.

One name can serve REST and HTTP APIs, and either API of API Gateway manages it:
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-custom-domain-names.html
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mtls_rotation.aws.clients import SINGLE_CALLS
from mtls_rotation.errors import DomainBusyError, UnusableDomainError
from mtls_rotation.targets import limits
from mtls_rotation.targets.api import Lane, ObjectVersion, Running

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient

    from mtls_rotation.aws.clients import Clients
    from mtls_rotation.aws.services import Services
    from mtls_rotation.targets.api import Edition, Limits

AVAILABLE = "AVAILABLE"
# One UpdateDomainName in 30 seconds for an account.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
UPDATE_INTERVAL = timedelta(seconds=30)
# An update takes effect within 23 s of its start, by the time-outs of SINGLE_CALLS, or never.
LANE = Lane("apigateway", interval=UPDATE_INTERVAL, effect_within=timedelta(seconds=23))


def create(services: Services, name: str, capacity: int) -> GatewayDomain:
    """The target for a domain name, or for its ARN, which ends in it."""
    return GatewayDomain(services.clients, name.rpartition("/")[2], limits.api_gateway(capacity))


class GatewayDomain:
    """One regional custom domain name with mutual TLS.

    Args:
        clients: makes the clients of API Gateway.
        name: the domain name.
        limits: what API Gateway takes in this account.
    """

    lane = LANE

    def __init__(self, clients: Clients, name: str, limits: Limits = limits.API_GATEWAY) -> None:
        self._clients = clients
        self._client: APIGatewayClient = clients.of("apigateway")
        self.name = name
        self.limits = limits

    def running(self) -> Running | None:
        """What the domain runs now; None if there is no such domain.

        Raises:
            UnusableDomainError: it has no mutual TLS.
        """
        try:
            answer = self._client.get_domain_name(domainName=self.name)
        except self._client.exceptions.NotFoundException:
            return None
        mutual_tls = answer.get("mutualTlsAuthentication", {})
        if "truststoreUri" not in mutual_tls:
            raise UnusableDomainError(
                where=f"domain name {self.name}",
                found="no mutual TLS",
                expected="mutualTlsAuthentication with a truststoreUri",
                remedy="Deploy the stack again, or set the truststore on the domain name.",
            )
        status = answer.get("domainNameStatus", AVAILABLE)
        return Running(
            ObjectVersion(mutual_tls["truststoreUri"], mutual_tls.get("truststoreVersion")),
            settled=status == AVAILABLE,
            status=status,
            warnings=tuple(mutual_tls.get("truststoreWarnings", ())),
        )

    def run(self, edition: Edition, replacing: Running) -> None:
        """Have the domain run this edition. It takes effect when the domain is AVAILABLE again.

        Raises:
            DomainBusyError: an update is under way, or the account's rate is used up.
        """
        before = replacing.evidence if isinstance(replacing.evidence, ObjectVersion) else ObjectVersion("", None)
        wanted = {
            "truststoreUri": (before.uri, edition.uri),
            "truststoreVersion": (before.version_id, edition.version_id),
        }
        try:
            # A client that tries again by itself what API Gateway throttled would use up the rate that it waits for.
            self._clients.of("apigateway", SINGLE_CALLS).update_domain_name(
                domainName=self.name,
                patchOperations=[
                    {"op": "replace", "path": f"/mutualTlsAuthentication/{member}", "value": new}
                    for member, (old, new) in wanted.items()
                    if old != new
                ],
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"TooManyRequestsException", "ConflictException"}:
                raise
            raise DomainBusyError(
                where=f"domain name {self.name}",
                found=error.response["Error"]["Code"],
                retry_after=_retry_after(error),
            ) from None


def _retry_after(error: ClientError) -> int:
    """Seconds until the next try: what API Gateway asks for, or its whole interval."""
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    longest = math.ceil(UPDATE_INTERVAL.total_seconds())
    text = headers.get("retry-after", "")
    return min(max(1, int(text)), longest) if text.isdigit() else longest
