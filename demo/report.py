"""What the demo found: the shape of `build/demo/report.json`, and the table that it ends with."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from demo.traffic import Summary
from mtls_rotation.rotation import Step


@dataclass(frozen=True)
class RotationReport:
    """One rotation.

    Attributes:
        seconds: from its start to AWSCURRENT on the new version.
        steps: step → seconds, as the local Secrets Manager measured it.
    """

    secret: str
    trigger: Literal["manual", "scheduled"]
    old_serial: str
    new_serial: str
    seconds: float
    steps: dict[str, float]


@dataclass(frozen=True)
class TruststoreReport:
    """One version of the truststore."""

    version_id: str
    anchors: int
    published_at: str


@dataclass(frozen=True)
class Refused:
    """Whether each request that must be refused was."""

    no_certificate: bool
    unknown_ca: bool
    expired: bool


@dataclass(frozen=True)
class Report:
    """The whole run.

    Attributes:
        partner_accepted_after_seconds: how long after the upload of a partner's CA its client was accepted.
        deployed_truststore: the version that the gateway ran at the end.
    """

    stack_name: str
    requests: Summary
    rotations: list[RotationReport]
    truststore: list[TruststoreReport]
    deployed_truststore: str
    refused: Refused
    partner_accepted_after_seconds: float
    seconds: dict[str, float]

    @property
    def problems(self) -> list[str]:
        """What kept the promise from being kept; empty if it was."""
        found = []
        if self.requests.failed:
            found.append(f"{self.requests.failed} requests with a valid certificate failed: {self.requests.failures}")
        if self.requests.per_second < 50:
            found.append(f"only {self.requests.per_second} requests a second were sent, where 50 were to be")
        found += [
            f"a request with {name} was not refused" for name, refused in asdict(self.refused).items() if not refused
        ]
        found += [
            f"the rotation of {rotation.secret} left the serial as it was"
            for rotation in self.rotations
            if rotation.old_serial == rotation.new_serial
        ]
        if self.deployed_truststore not in {version.version_id for version in self.truststore}:
            found.append(f"the gateway runs the truststore {self.deployed_truststore}, which is not in the bucket")
        return found

    def to_json(self) -> dict[str, Any]:
        """As `report.json` has it."""
        return {
            "stack": {"name": self.stack_name, "mode": "gateway"},
            "requests": asdict(self.requests),
            "rotations": [asdict(rotation) for rotation in self.rotations],
            "truststore": [asdict(version) for version in self.truststore],
            "deployed_truststore": self.deployed_truststore,
            "refused": asdict(self.refused),
            "partner_accepted_after_seconds": self.partner_accepted_after_seconds,
            "seconds": self.seconds,
            "problems": self.problems,
        }

    def show(self, console: Console) -> None:
        """Print it, in 80 columns."""
        rotations = Table("secret", "rotation", "serial", "took", *(step.removesuffix("Secret") for step in Step))
        for rotation in self.rotations:
            rotations.add_row(
                rotation.secret.rpartition("/")[2],
                rotation.trigger,
                f"{rotation.old_serial[:4]}→{rotation.new_serial[:4]}",
                f"{rotation.seconds:.2f} s",
                *(f"{rotation.steps.get(step, 0):.2f} s" for step in Step),
            )
        console.print(rotations)

        facts = Table(show_header=False)
        requests = self.requests
        facts.add_row("requests sent", f"{requests.sent} ({requests.per_second} a second, a handshake each)")
        facts.add_row("requests failed", f"[bold {'red' if requests.failed else 'green'}]{requests.failed}[/]")
        facts.add_row("longest gap between answers", f"{requests.longest_gap_ms} ms")
        facts.add_row("partner's CA live after upload", f"{self.partner_accepted_after_seconds} s")
        for version in self.truststore:
            deployed = ", deployed" if version.version_id == self.deployed_truststore else ""
            facts.add_row(f"truststore {version.version_id[:8]}…", f"anchors: {version.anchors}{deployed}")
        for name, refused in asdict(self.refused).items():
            facts.add_row(name.replace("_", " "), "[green]refused[/]" if refused else "[bold red]ACCEPTED[/]")
        console.print(facts)
