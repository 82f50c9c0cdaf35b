"""What runs a truststore, whatever it is: API Gateway's custom domain names are the first (`api_gateway`).

Load balancers and CloudFront take a bucket, a key and a version, too; they would be further implementations.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Truststore:
    """A published truststore: the object, and which version of it."""

    uri: str
    version_id: str


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a target runs.

    Attributes:
        version_id: the S3 object version of the truststore; None if the target names none, which is the latest.
        settled: whether this is what requests are checked against, with no update under way.
        status: how the target itself says that.
        warnings: what the target says is wrong with certificates in it.
    """

    name: str
    uri: str
    version_id: str | None
    settled: bool = True
    status: str = ""
    warnings: tuple[str, ...] = ()

    def runs(self, truststore: Truststore) -> bool:
        """Whether it runs, or is about to run, this truststore."""
        return (self.uri, self.version_id) == (truststore.uri, truststore.version_id)


class Target(Protocol):
    """Something that checks client certificates against the truststore."""

    @property
    def name(self) -> str:
        """By which operators know it."""

    @property
    def update_interval(self) -> timedelta:
        """How long to leave between two updates of targets of this kind."""

    def deployed(self) -> Deployed | None:
        """What it runs now; None if there is no such target (yet).

        Raises:
            UnusableDomainError: it checks no client certificates.
        """

    def deploy(self, current: Deployed, truststore: Truststore) -> None:
        """Have it run this truststore. It takes effect when the target has settled again.

        Raises:
            DomainBusyError: it takes no update now.
        """
