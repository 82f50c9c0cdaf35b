"""What the demo found: the shape of `build/demo/report.json`, and the table that it ends with."""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from rich.console import Console
from rich.table import Table

from demo.timeline import Origin, Timeline
from demo.traffic import Request, Summary
from localaws import RotationRun
from mtls_rotation.rotation.request import Step


@dataclass(frozen=True)
class StepReport:
    """One step of a run: when it began on the time line, and how long it took."""

    began_ms: float
    ms: float


@dataclass(frozen=True)
class RunReport:
    """One walk through the steps; a retry is one of its own.

    Attributes:
        error: what stopped it, empty if nothing did.
    """

    attempt: int
    steps: dict[str, StepReport]
    error: str

    @classmethod
    def of(cls, run: RotationRun, origin: Origin) -> Self:
        """What the local Secrets Manager recorded."""
        steps = {
            step: StepReport(origin.milliseconds(run.step_starts[step]), round(taken * 1000, 1))
            for step, taken in run.steps.items()
        }
        return cls(run.attempt, steps, run.error or "")


@dataclass(frozen=True)
class RotationReport:
    """One rotation.

    Attributes:
        seconds: from its start to AWSCURRENT on the new version.
        steps: step → seconds, as the local Secrets Manager measured it.
        began_ms: its start on the time line.
        runs: every attempt, the one that went well last.
    """

    secret: str
    trigger: Literal["manual", "scheduled"]
    old_serial: str
    new_serial: str
    seconds: float
    steps: dict[str, float]
    began_ms: float
    runs: list[RunReport]


@dataclass(frozen=True)
class TruststoreReport:
    """One version of the truststore.

    Attributes:
        published_ms: when it came into the bucket, on the time line; below zero: before it began.
        deployed_ms: when the gateway was first seen to run it; `None`: it never was.
        subjects: whom its anchors name.
    """

    version_id: str
    anchors: int
    published_at: str
    published_ms: float
    deployed_ms: float | None
    subjects: list[str]


@dataclass(frozen=True)
class Refused:
    """Whether each request that must be refused was."""

    no_certificate: bool
    unknown_ca: bool
    expired: bool


@dataclass(frozen=True)
class Check:
    """One request that tells whether the gateway asks for certificates at all.

    Attributes:
        answer: what the client was told; empty if it was accepted.
    """

    name: str
    expected: Literal["refused", "accepted"]
    outcome: Literal["refused", "accepted", "failed"]
    answer: str
    began_ms: float
    ms: float

    @classmethod
    def of(cls, name: str, expected: Literal["refused", "accepted"], request: Request, origin: Origin) -> Self:
        """What came of a request."""
        outcome: Literal["refused", "failed"] = "refused" if request.refused else "failed"
        began, took = origin.milliseconds(request.at), round(request.seconds * 1000, 1)
        return cls(name, expected, outcome if request.failure else "accepted", request.failure, began, took)


@dataclass(frozen=True)
class Partner:
    """When a partner's CA was uploaded, and when its client was first accepted, on the time line."""

    uploaded_ms: float
    accepted_ms: float


@dataclass(frozen=True)
class Report:
    """The whole run.

    Attributes:
        checks: what `refused` was found by, and the control that must be accepted.
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
    checks: list[Check]
    partner: Partner
    timeline: Timeline

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
            "checks": [asdict(check) for check in self.checks],
            "partner": asdict(self.partner),
            "timeline": self.timeline.to_json(),
        }

    def dump(self) -> str:
        """The text of `report.json`: indented, and each list of numbers on one line."""
        text = json.dumps(self.to_json(), indent=2) + "\n"
        # A line break is never in a JSON string, so that nothing but lists is met.
        return re.sub(r"\[\n\s+([-\d.e,\snul]+?)\n\s+\]", lambda it: f"[{' '.join(it[1].split())}]", text)

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
