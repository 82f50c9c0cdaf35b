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
from mtls_rotation.errors import DomainBusyError, DomainNotAvailableError, UnusableDomainError
from mtls_rotation.targets import limits
from mtls_rotation.targets.api import Lane, ObjectVersion, Running

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient

    from mtls_rotation.aws.clients import Clients
    from mtls_rotation.aws.services import Services
    from mtls_rotation.targets.api import Edition, Limits

# Others are PENDING, PENDING_CERTIFICATE_REIMPORT, PENDING_OWNERSHIP_VERIFICATION and FAILED. Only a domain that is
# UPDATING takes no update. Which truststore it has in the others AWS does not say: it may be the old one.
# https://docs.aws.amazon.com/apigateway/latest/api/API_DomainName.html
AVAILABLE, UPDATING = "AVAILABLE", "UPDATING"
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
                remedy="Set the truststore on the domain name again: `mtlsctl status` shows the command.",
            )
        status = answer.get("domainNameStatus", AVAILABLE)
        return Running(
            ObjectVersion(mutual_tls["truststoreUri"], mutual_tls.get("truststoreVersion")),
            settled=status == AVAILABLE,
            updating=status == UPDATING,
            status=status,
            message=answer.get("domainNameStatusMessage", ""),
            warnings=tuple(mutual_tls.get("truststoreWarnings", ())),
        )

    def run(self, edition: Edition, replacing: Running) -> None:
        """Have the domain run this edition. It takes effect when the domain is AVAILABLE again.

        A version that it shows already is sent again: it may be what a failed update was to bring.

        Raises:
            DomainBusyError: an update is under way, or the account's rate is used up.
            DomainNotAvailableError: API Gateway locks it until somebody has mended its certificates.
        """
        before = replacing.evidence if isinstance(replacing.evidence, ObjectVersion) else ObjectVersion("", None)
        wanted = {"truststoreVersion": edition.version_id}
        if before.uri != edition.uri:
            wanted = {"truststoreUri": edition.uri, **wanted}
        try:
            # A client that tries again by itself what API Gateway throttled would use up the rate that it waits for.
            self._clients.of("apigateway", SINGLE_CALLS).update_domain_name(
                domainName=self.name,
                patchOperations=[
                    {"op": "replace", "path": f"/mutualTlsAuthentication/{member}", "value": value}
                    for member, value in wanted.items()
                ],
            )
        except ClientError as error:
            code, where = error.response["Error"]["Code"], f"domain name {self.name}"
            if code in {"TooManyRequestsException", "ConflictException"}:
                raise DomainBusyError(where=where, found=code, retry_after=_retry_after(error)) from None
            if code == "BadRequestException" and replacing.stuck:
                refusal = error.response["Error"].get("Message", code)
                raise DomainNotAvailableError(where=where, found=f"{replacing.condition}; {refusal}") from None
            raise


def _retry_after(error: ClientError) -> int:
    """Seconds until the next try: what API Gateway asks for, or its whole interval."""
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    longest = math.ceil(UPDATE_INTERVAL.total_seconds())
    text = headers.get("retry-after", "")
    return min(max(1, int(text)), longest) if text.isdigit() else longest
