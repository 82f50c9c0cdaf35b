"""`mtlsctl status`: is everything fresh, trusted and on schedule?"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, override

from rich.text import Text

from mtls_rotation.pki.certificates import serial, short_subject
from mtls_rotation.pki.distinguished_names import rfc4514
from mtlsctl.exit_status import ExitStatus
from mtlsctl.findings import DoctorContext, standstill
from mtlsctl.findings.distrust import DistrustLine, distrust_lines, distrusted_text
from mtlsctl.findings.looking import looked
from mtlsctl.findings.survey import SOON, Acceptance, about_secret, about_target, about_truststore, acceptances
from mtlsctl.frame.command import CommandContext
from mtlsctl.report import Finding, Model, Report, worst
from mtlsctl.show import Column, FittingTable, day, days, distinguished_name, label_in_words, line, moment, shown
from mtlsctl.stack.survey import Survey, Surveyor
from mtlsctl.stack.targets import published_version

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography import x509
    from rich.console import RenderableType

    from mtlsctl.stack.survey import SecretState
    from mtlsctl.stack.targets import Target


class SecretStatus(Model):
    """A managed secret with the certificate at AWSCURRENT.

    Attributes:
        subject: and the members after it: null while no certificate is filed.
        serial_number: lower-case hex.
        days_left: until `not_after`, with a fraction; negative after it.
        stages: version id → its staging labels.
        accepted: by each domain of the stack; empty for a certificate that is for servers elsewhere only.
    """

    name: str
    arn: str
    kind: Literal["client", "ca"]
    subject: str | None
    issuer: str | None
    serial_number: str | None
    not_after: datetime | None
    days_left: float | None
    rotation_enabled: bool
    schedule: str
    last_rotated: datetime | None
    next_rotation: datetime | None
    stages: dict[str, list[str]]
    accepted: list[Acceptance]


class AnchorStatus(Model):
    """A certificate in the truststore, and why it is there."""

    fingerprint_sha256: str
    subject: str
    reasons: list[str]
    not_after: datetime
    days_left: float


class DomainStatus(Model):
    """A custom domain name.

    Attributes:
        truststore_version: the object version that it runs; null if it names none.
        anchors: how many certificates that holds; null where it cannot be had.
        up_to_date: whether that is the published version.
        state: API Gateway's word, such as AVAILABLE; empty where there is no such domain.
        message: what API Gateway says of the state; empty if nothing.
    """

    name: str
    state: str
    message: str
    truststore_version: str | None
    anchors: int | None
    up_to_date: bool
    warnings: list[str]


class StatusReport(Report):
    """Everything that the stack keeps fresh.

    Attributes:
        published_version: the truststore's newest object version; empty where there is none.
        sync_would_add: how many anchors a sync would add now; a few seconds after a change, not zero.
        distrusted: what operators have taken out of the truststore, whatever holds it.
    """

    stack: str
    region: str
    at: datetime
    secrets: list[SecretStatus]
    domains: list[DomainStatus]
    anchors: list[AnchorStatus]
    published_version: str
    sync_would_add: int
    sync_would_remove: int
    distrusted: list[DistrustLine]
    findings: list[Finding]

    @property
    @override
    def exit_status(self) -> ExitStatus:
        return worst(self.findings)

    @override
    def render(self) -> Iterable[RenderableType]:
        yield line((f"{self.stack} in {self.region}, {moment(self.at)}", "bold"))
        yield self._secrets_table()
        if self.domains:
            yield self._domains_table()
        if self.anchors:
            yield self._anchors_table()
        yield from distrusted_text(self.distrusted)
        yield from shown(self.findings, "Everything is fresh.")

    def _secrets_table(self) -> FittingTable:
        table = FittingTable(
            Column("secret"), Column("days\nleft"), Column("rotations"), Column("labels"), Column("trusted")
        )
        for it in self.secrets:
            table.add_row(
                _who(it), days(it.days_left, warn=_warns(it)), _rotations(it), _labels(it), _accepted(it.accepted)
            )
        return table

    def _domains_table(self) -> FittingTable:
        table = FittingTable(
            Column("domain"),
            Column("state"),
            Column("truststore version"),
            Column("anchors"),
            Column("warnings", whole=False),
        )
        for it in self.domains:
            version = f"{it.truststore_version[:8]}…" if it.truststore_version else "-"
            style = "green" if it.up_to_date else "bold red"
            table.add_row(
                it.name,
                it.state or "-",
                Text(version, style=style),
                "-" if it.anchors is None else str(it.anchors),
                Text("; ".join(it.warnings) or "none", style="bold red" if it.warnings else ""),
            )
        return table

    def _anchors_table(self) -> FittingTable:
        table = FittingTable(Column("anchor"), Column("subject"), Column("why", whole=False), Column("days\nleft"))
        for it in self.anchors:
            table.add_row(
                f"{it.fingerprint_sha256[:8]}…",
                distinguished_name(it.subject),
                "; ".join(it.reasons),
                days(it.days_left, warn=it.days_left < SOON.days),
            )
        return table


def status(context: CommandContext) -> StatusReport:
    """Show every secret, CA, anchor and domain of the stack, and what needs attention.

    Exit status: 0 all well, 1 something needs attention, 2 it could not be told.
    """
    with context.doing("looking"):
        survey = Surveyor(context.deployment).survey()
        besides = DoctorContext(context.deployment)
        still = [finding for check in standstill.CHECKS for finding in looked(check, besides)[0]]
        return judge(survey, context.deployment.name, context.deployment.region, still)


def judge(survey: Survey, stack: str, region: str, still: Iterable[Finding] = ()) -> StatusReport:
    """Make the report of what was seen. Pure.

    Args:
        survey: the secrets, the truststore and what runs it.
        stack: its name.
        region: likewise.
        still: what has rotations stand still, or lets nobody in.
    """
    plan = survey.preview.plan
    return StatusReport(
        stack=stack,
        region=region,
        at=survey.now,
        secrets=[_secret(it, survey) for it in survey.secrets],
        domains=[_domain(it, survey) for it in survey.targets],
        anchors=[
            AnchorStatus(
                fingerprint_sha256=key,
                subject=short_subject(it.certificate),
                reasons=[str(reason) for reason in it.reasons],
                not_after=it.certificate.not_valid_after_utc,
                days_left=_days_left(it.certificate, survey.now),
            )
            for key, it in plan.anchors.items()
        ],
        published_version=published_version(survey.preview) or "",
        sync_would_add=len(plan.added),
        sync_would_remove=len(plan.removed),
        distrusted=distrust_lines(survey.preview),
        findings=[
            *(finding for it in survey.secrets for finding in about_secret(it, survey)),
            *(finding for it in survey.targets for finding in about_target(it, survey)),
            *about_truststore(survey),
            *still,
        ],
    )


def _secret(it: SecretState, survey: Survey) -> SecretStatus:
    certificate = it.current.certificate if it.current else None
    return SecretStatus(
        name=it.name,
        arn=it.arn,
        kind="ca" if it.kind == "ca" else "client",
        subject=short_subject(certificate) if certificate else None,
        issuer=rfc4514(certificate.issuer) if certificate else None,
        serial_number=serial(certificate) if certificate else None,
        not_after=certificate.not_valid_after_utc if certificate else None,
        days_left=_days_left(certificate, survey.now) if certificate else None,
        rotation_enabled=it.rotation_enabled,
        schedule=it.schedule,
        last_rotated=it.last_rotated,
        next_rotation=it.next_rotation,
        stages={version: sorted(labels) for version, labels in it.stages.items()},
        accepted=list(acceptances(it, survey)),
    )


def _domain(it: Target, survey: Survey) -> DomainStatus:
    return DomainStatus(
        name=it.name,
        state=it.state,
        message=it.message,
        truststore_version=it.version_id,
        anchors=None if it.anchors is None else len(it.anchors),
        up_to_date=it.runs(survey.preview),
        warnings=list(it.warnings),
    )


def _days_left(certificate: x509.Certificate, now: datetime) -> float:
    return round((certificate.not_valid_after_utc - now) / timedelta(days=1), 2)


def _warns(it: SecretStatus) -> bool:
    return it.days_left is not None and it.days_left < SOON.days


def _who(it: SecretStatus) -> Text:
    """The secret's name, and below it whose certificate it holds."""
    name = (it.name, "bold"), (" (CA)" if it.kind == "ca" else "", "")
    if it.serial_number is None:
        return Text.assemble(*name)
    issuer = "itself" if it.issuer == it.subject else distinguished_name(it.issuer or "").replace("\n", "\n   ")
    return Text.assemble(*name, (f"\nby {issuer}\nserial {it.serial_number[:16]}…", "dim"))


def _labels(it: SecretStatus) -> str:
    known = {label_in_words(label): version for version, labels in it.stages.items() for label in labels}
    return "\n".join(f"{label} {version[:4]}…" for label, version in sorted(known.items()))


def _rotations(it: SecretStatus) -> Text:
    last = f"last {day(it.last_rotated)}\n" if it.last_rotated else ""
    if not it.rotation_enabled:
        return Text.assemble(last, ("switched off", "bold red"))
    return Text(f"{last}next {day(it.next_rotation)}")


def _accepted(accepted: list[Acceptance]) -> Text:
    if not accepted:
        return Text("-", style="dim")
    words = {True: ("yes", "green"), False: ("NO", "bold red"), None: ("?", "yellow")}
    return Text("\n").join(Text(*words[it.accepted]) for it in accepted)
