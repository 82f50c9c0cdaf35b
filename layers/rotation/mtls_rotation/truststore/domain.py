"""A custom domain name of API Gateway: which truststore it runs, and telling it to run another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mtls_rotation.errors import DomainBusyError, UnusableDomainError

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient

    from mtls_rotation.timing import Deadline

AVAILABLE = "AVAILABLE"
# One UpdateDomainName in 30 seconds for an account.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
UPDATE_INTERVAL = 30


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a domain name runs.

    Attributes:
        version_id: the S3 object version of the truststore; None if the domain names none, which is the latest.
        warnings: what API Gateway says is wrong with certificates in it.
    """

    domain: str
    uri: str
    version_id: str | None
    status: str
    warnings: tuple[str, ...]

    @property
    def settled(self) -> bool:
        """Whether this version is what requests are checked against, with no update under way."""
        return self.status == AVAILABLE


class GatewayDomain:
    """One regional custom domain name with mutual TLS."""

    def __init__(self, client: APIGatewayClient, name: str) -> None:
        self._client = client
        self.name = name

    def deployed(self) -> Deployed | None:
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
        return Deployed(
            domain=self.name,
            uri=mutual_tls["truststoreUri"],
            version_id=mutual_tls.get("truststoreVersion"),
            status=answer.get("domainNameStatus", AVAILABLE),
            warnings=tuple(mutual_tls.get("truststoreWarnings", ())),
        )

    def deploy(self, current: Deployed, uri: str, version_id: str) -> None:
        """Have the domain run this version of the truststore. It takes effect when the domain is AVAILABLE again.

        Raises:
            DomainBusyError: an update is under way, or the account's rate is used up.
        """
        if not current.settled:
            raise DomainBusyError(
                where=f"domain name {self.name}", found=f"status {current.status}", retry_after=UPDATE_INTERVAL
            )
        wanted = {"truststoreUri": (current.uri, uri), "truststoreVersion": (current.version_id, version_id)}
        try:
            self._client.update_domain_name(
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
                retry_after=UPDATE_INTERVAL,
            ) from None

    def await_settled(self, deadline: Deadline) -> Deployed | None:
        """What the domain runs once its update has ended; what it shows at the deadline if it has not."""
        shown = None
        for _ in deadline.attempts():
            shown = self.deployed()
            if shown is None or shown.settled:
                break
        return shown
