"""What probes have the gateway's domain trust: bundles of the run's own, in the place of the stack's truststore."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from acceptance import domains
from acceptance.probes.api import UndecidedError
from acceptance.probes.requests import Told, request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from acceptance.clients import Client
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene


@dataclass(frozen=True)
class Tried:
    """What came of a bundle.

    Attributes:
        refused: what UpdateDomainName was refused with; empty if it was not.
        warnings: what API Gateway warns of.
        told: what each client was told, in their order.
    """

    refused: str
    warnings: Sequence[str]
    told: Sequence[Told]

    @property
    def accepted(self) -> bool:
        """Whether the domain took the bundle, and let every client in."""
        return not self.refused and all(it.status == 200 for it in self.told)

    def __str__(self) -> str:
        if self.refused:
            return f"UpdateDomainName was refused: {self.refused}"
        warned = f"; warnings: {', '.join(self.warnings)}" if self.warnings else "; no warnings"
        return " | ".join(map(str, self.told)) + warned


def ask_with(run: Run, scene: Scene, bundle: str, *clients: Client) -> Tried:
    """Have the domain trust a bundle and nothing else, and let clients ask one after the other.

    Raises:
        UndecidedError: the domain runs something else in the end.
    """
    uri = f"s3://{run.bucket}/truststore.pem"
    version = run.put("truststore.pem", bundle)
    try:
        domain = domains.set_truststore(run, version, uri)
    except ClientError as error:
        return Tried(str(error), [], [])
    told = [request(scene.door.url, it.held.context) for it in clients]
    running = domains.described(run)["mutualTlsAuthentication"]
    if (running["truststoreUri"], running.get("truststoreVersion")) != (uri, version):
        raise UndecidedError("somebody else has updated the domain meanwhile")
    return Tried("", domain["mutualTlsAuthentication"].get("truststoreWarnings", []), told)
