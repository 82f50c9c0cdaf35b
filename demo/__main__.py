"""`make demo`: deploy in gateway mode, keep requests going, rotate, and tell what happened."""

from __future__ import annotations

import json
import ssl
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from demo import gateway, sam
from demo.certificates import Authority, Held
from demo.page import render
from demo.report import Check, Partner, Refused, Report, RotationReport, RunReport, TruststoreReport
from demo.sightings import Sightings
from demo.timeline import Origin, Timeline
from demo.traffic import RATE, Traffic, send
from demo.waiting import await_condition, await_rotation
from localaws import LocalAws, LocalAwsError
from localaws.__main__ import heed_signals
from mtls_rotation.contract import layout
from mtls_rotation.pki import bundles
from mtls_rotation.pki.certificates import short_subject, to_pem

if TYPE_CHECKING:
    from collections.abc import Iterator

    import boto3

BUILD = sam.ROOT / "build" / "demo"
STACK = "mtls-demo"
DOMAIN = "api.mtls-demo.example"
MANUAL_ROTATIONS = 3
ROTATION_TIMEOUT = 60.0
# Traffic between one rotation and the next, so that each can be told apart in the report.
BREATHER = 4.0

console = Console()


class Demo:
    """One run on one local AWS."""

    def __init__(self, aws: LocalAws, seconds: dict[str, float]) -> None:
        self._aws = aws
        self._seconds = seconds
        with self._phase("deploy with `sam deploy`"):
            names = {"ClientCommonName": "demo", "ClientUris": "spiffe://mtls-demo.example/demo"}
            self._gateway = gateway.deploy(aws, STACK, DOMAIN, **names)
        session: boto3.Session = sam.session(self._gateway.environment)
        self._secrets = session.client("secretsmanager")
        self._s3 = session.client("s3")
        self._apigateway = session.client("apigateway")
        self._secret = self._gateway.stack.outputs["ClientSecret"]
        self._ca = self._gateway.stack.outputs["CaSecret"]
        self._bucket = self._gateway.stack.outputs["BucketName"]
        self._origin = Origin.now()

    def run(self) -> Report:
        """Rotate under traffic, and look at what is refused."""
        with self._phase("wait for the first rotation"):
            await_condition(lambda: self._is_settled(self._secret), "the first rotation", ROTATION_TIMEOUT)
            # The CA's schedule is tried out when it is made.
            arn = self._secrets.describe_secret(SecretId=self._ca)["ARN"]
            await_condition(
                lambda: all(run.finished_at for run in self._aws.rotations() if run.secret_arn == arn),
                "the trial of the CA's schedule",
                ROTATION_TIMEOUT,
            )
        traffic = Traffic(self._secrets, self._secret, self._gateway.url, self._gateway.server_ca)
        self._origin = Origin.now()
        sightings = Sightings(self._apigateway, DOMAIN, self._origin)
        sightings.start()
        traffic.start()
        try:
            rotations = self._rotate_under(traffic)
            with self._phase("upload a partner's CA, and wait until its client is accepted"):
                partner = self._admit_partner()
            with self._phase("ask without a certificate, with an unknown CA's, with an expired one"):
                refused, checks = self._try_refused()
        finally:
            summary = traffic.stop()
            sightings.stop()
        return Report(
            stack_name=STACK,
            requests=summary,
            rotations=rotations,
            truststore=self._truststore_versions(sightings),
            deployed_truststore=self._deployed_truststore(),
            refused=refused,
            partner_accepted_after_seconds=round((partner.accepted_ms - partner.uploaded_ms) / 1000, 2),
            seconds=self._seconds,
            checks=checks,
            partner=partner,
            timeline=Timeline.of(traffic.by_label, self._origin),
        )

    # rotations --------------------------------------------------------------------------------------------------------

    def _rotate_under(self, traffic: Traffic) -> list[RotationReport]:
        rotations = []
        for number in range(1, MANUAL_ROTATIONS + 1):
            self._breathe(traffic)
            with self._phase(f"manual rotation {number}, by rotate-secret"):
                rotations.append(self._rotate(self._secret))
            if number == 1:
                self._breathe(traffic)
                with self._phase("rotation of the CA, by rotate-secret"):
                    rotations.append(self._rotate(self._ca))
        self._breathe(traffic)
        with self._phase("scheduled rotation, its clock sped up"):
            old, started, before = self._serial(self._secret), time.monotonic(), self._version(self._secret)
            self._aws.advance_clock(timedelta(days=11))
            await_condition(lambda: self._version(self._secret) != before, "the scheduled rotation", ROTATION_TIMEOUT)
            rotations.append(self._await_rotation(self._secret, self._version(self._secret), old, started))
        self._breathe(traffic)
        return rotations

    def _rotate(self, secret: str) -> RotationReport:
        old, started = self._serial(secret), time.monotonic()
        version = self._secrets.rotate_secret(SecretId=secret)["VersionId"]
        return self._await_rotation(secret, version, old, started)

    def _await_rotation(self, secret: str, version: str, old_serial: str, started: float) -> RotationReport:
        run = await_rotation(self._aws, version, ROTATION_TIMEOUT)
        if run.trigger == "test" or not self._is_settled(secret) or self._version(secret) != version:
            raise RuntimeError(f"the rotation to {version} ended, and the labels are not where they should be")
        return RotationReport(
            secret=run.secret_name,
            trigger=run.trigger,
            old_serial=old_serial,
            new_serial=self._serial(secret),
            seconds=round(time.monotonic() - started, 2),
            steps={step: round(taken, 3) for step, taken in run.steps.items()},
            began_ms=self._origin.milliseconds(started),
            runs=[RunReport.of(it, self._origin) for it in self._aws.rotations() if it.version_id == version],
        )

    def _version(self, secret: str) -> str:
        return self._secrets.get_secret_value(SecretId=secret)["VersionId"]

    def _is_settled(self, secret: str) -> bool:
        """Whether AWSCURRENT holds a certificate and no version is left at AWSPENDING."""
        labels = self._secrets.describe_secret(SecretId=secret)["VersionIdsToStages"].values()
        return bool(self._serial(secret)) and not any("AWSPENDING" in label for label in labels)

    def _serial(self, secret: str) -> str:
        value = json.loads(self._secrets.get_secret_value(SecretId=secret)["SecretString"])
        return str(value.get("serial_number", ""))

    def _breathe(self, traffic: Traffic) -> None:
        until = time.monotonic() + BREATHER
        enough = traffic.sent + int(RATE * BREATHER / 2)
        await_condition(lambda: time.monotonic() > until and traffic.sent > enough, "traffic", ROTATION_TIMEOUT)
        console.print(f"  [dim]{traffic.sent} requests sent, {traffic.failed} failed[/]")

    # truststore -------------------------------------------------------------------------------------------------------

    def _admit_partner(self) -> Partner:
        partner = Authority.named("Partner CA")
        client = partner.client("partner", self._gateway.server_ca)
        uploaded = self._origin.milliseconds()
        self._s3.put_object(
            Bucket=self._bucket,
            Key=f"{layout.STATIC_ANCHORS}partner.pem",
            Body=to_pem(partner.certificate).encode(),
        )
        await_condition(lambda: not send(self._gateway.url, client).failure, "the partner's client is accepted", 60.0)
        return Partner(uploaded, self._origin.milliseconds())

    def _truststore_versions(self, sightings: Sightings) -> list[TruststoreReport]:
        listed = self._s3.list_object_versions(Bucket=self._bucket, Prefix=layout.TRUSTSTORE)["Versions"]
        versions = []
        for version in sorted(listed, key=lambda version: version["LastModified"]):
            stored = self._s3.get_object(Bucket=self._bucket, Key=layout.TRUSTSTORE, VersionId=version["VersionId"])
            anchors = bundles.certificates(stored["Body"].read())
            name, published_at = version["VersionId"], version["LastModified"]
            versions.append(
                TruststoreReport(
                    name,
                    len(anchors),
                    published_at.isoformat(),
                    self._origin.milliseconds(published_at),
                    sightings.deployed.get(name),
                    sorted(short_subject(anchor) for anchor in anchors.values()),
                )
            )
        return versions

    def _deployed_truststore(self) -> str:
        domain = self._apigateway.get_domain_name(domainName=DOMAIN)
        return domain["mutualTlsAuthentication"].get("truststoreVersion", "")

    # refusals ---------------------------------------------------------------------------------------------------------

    def _try_refused(self) -> tuple[Refused, list[Check]]:
        ca = Authority.from_secret(self._secrets.get_secret_value(SecretId=self._ca)["SecretString"])
        asking = {
            # The same request with a certificate of that CA in date must pass, or a refusal would prove nothing.
            "control": ca.client("control", self._gateway.server_ca),
            "no certificate": Held("", ssl.create_default_context(cadata=self._gateway.server_ca)),
            "unknown CA": Authority.named("Unknown CA").client("stranger", self._gateway.server_ca),
            "expired": ca.client("expired", self._gateway.server_ca, issued_ago=timedelta(days=2)),
        }
        sent = {name: send(self._gateway.url, held) for name, held in asking.items()}
        if failure := sent["control"].failure:
            raise RuntimeError(f"a valid certificate was refused: {failure}")
        refused = Refused(sent["no certificate"].refused, sent["unknown CA"].refused, sent["expired"].refused)
        return refused, [
            Check.of(name, "accepted" if name == "control" else "refused", request, self._origin)
            for name, request in sent.items()
        ]

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        with phase(name, self._seconds):
            yield


@contextmanager
def phase(name: str, seconds: dict[str, float]) -> Iterator[None]:
    """Show that something is under way, and how long it took."""
    began = time.monotonic()
    with console.status(f"{name} …"):
        yield
    seconds[name] = round(time.monotonic() - began, 2)
    console.print(f"[green]✓[/] {name} [dim]({seconds[name]:.1f} s)[/]")


def main(folder: Path = BUILD) -> int:
    """Run the demo; 0 if the promise was kept.

    Args:
        folder: where the report and the log of the local AWS go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    began = time.monotonic()
    with phase("build with `sam build`", seconds):
        sam.build(gateway.architecture())
    with phase("start the local AWS", seconds):
        # IAM is enforced: the functions may do what the template's roles say, and nothing else.
        aws = LocalAws.start(log_path=folder / "local-aws.log", enforce_iam=True, concurrent_executions=1000)
    with aws:
        report = Demo(aws, seconds).run()
    (folder / "report.json").write_text(report.dump(), "utf-8")
    page = folder / "report.html"
    page.write_text(render(report.to_json()), "utf-8")
    report.show(console)
    shown = page.relative_to(sam.ROOT) if page.is_relative_to(sam.ROOT) else page
    console.print(f"{shown} and report.json written after {time.monotonic() - began:.0f} s")
    for problem in report.problems:
        console.print(f"[bold red]✗ {problem}[/]")
    if not report.problems:
        console.print("[bold green]Zero failed handshakes.[/]")
    return 1 if report.problems else 0


if __name__ == "__main__":
    heed_signals()
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Interrupted; nothing of the local AWS remains.")
    except (sam.SamError, LocalAwsError, TimeoutError) as error:
        sys.exit(f"{error}\nThe log of the local AWS: {BUILD / 'local-aws.log'}")
