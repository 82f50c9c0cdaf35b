"""`mtlsctl verify`: does this certificate do its work, from the key to the server that it is for?"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, override
from urllib.parse import urlsplit

import typer
from rich.text import Text

from mtls_rotation.contract.endpoint import Endpoint
from mtls_rotation.errors import InvalidSecretError
from mtls_rotation.pki.certificates import fingerprint, serial, short_subject
from mtls_rotation.pki.distinguished_names import rfc4514
from mtls_rotation.provers import registry as provers
from mtlsctl.errors import InvalidInputError
from mtlsctl.exit_status import ExitStatus
from mtlsctl.files import documents
from mtlsctl.frame.command import CommandContext
from mtlsctl.frame.completion import SecretArgument
from mtlsctl.report import Report
from mtlsctl.show import Column, FittingTable, distinguished_name, line
from mtlsctl.stack.material import Label, read, stored_at
from mtlsctl.stack.versions import begin_afresh, bring_back, read_filed
from mtlsctl.verification.checks import Check, Result, examine
from mtlsctl.verification.evidence import gather
from mtlsctl.verification.probe import ProbeResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import RenderableType

    from mtls_rotation.aws.secret_versions import SecretVersion
    from mtls_rotation.contract.endpoint import EndpointSettings
    from mtls_rotation.contract.secret import ManagedSecret
    from mtlsctl.stack.deployment import Deployment
    from mtlsctl.verification.checks import Evidence

_MARKS = {Result.OK: ("✓", "green"), Result.FAILED: ("✗", "bold red"), Result.UNKNOWN: ("?", "yellow")}


class VerifyReport(Report):
    """A certificate, and every check of it.

    Attributes:
        kind: and the members after it but `checks`: null where the secret's value cannot be read.
        serial_number: lower-case hex.
        endpoint: the request that was made; null if none was.
    """

    secret: str
    label: Label
    version_id: str
    kind: Literal["client", "ca"] | None = None
    subject: str | None = None
    issuer: str | None = None
    serial_number: str | None = None
    fingerprint_sha256: str | None = None
    not_after: datetime | None = None
    endpoint: ProbeResult | None = None
    checks: list[Check]

    @property
    @override
    def exit_status(self) -> ExitStatus:
        results = {it.result for it in self.checks}
        if Result.FAILED in results:
            return ExitStatus.ATTENTION
        return ExitStatus.UNKNOWN if Result.UNKNOWN in results else ExitStatus.OK

    @override
    def render(self) -> Iterable[RenderableType]:
        yield line((f"{self.secret} at {self.label}, version {self.version_id}", "bold"))
        if self.subject:
            yield line((f"{self.subject}, serial number {self.serial_number}", ""))
            yield line((f"issued by {self.issuer}", ""))
        table = FittingTable(Column(), Column("check"), Column("found", whole=False))
        for it in self.checks:
            table.add_row(Text(*_MARKS[it.result]), distinguished_name(it.name), it.reason)
        yield table
        for it in self.checks:
            if it.remedy:
                yield line((f"{it.name}: ", "bold"), (it.remedy, ""))
        words = {
            ExitStatus.OK: "Every check is ok.",
            ExitStatus.ATTENTION: "Something is wrong.",
            ExitStatus.UNKNOWN: "Nothing is wrong as far as it can be told.",
        }
        yield Text(words[self.exit_status], style="bold")


def verify(
    context: CommandContext,
    secret: SecretArgument,
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="URL to present the certificate to. Default: the secret's own, or the gateway."
        ),
    ] = None,
    server_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM of the CAs that may have issued the server's certificate.")
    ] = None,
    label: Annotated[Label, typer.Option(help="Which version.")] = Label.CURRENT,
) -> VerifyReport:
    """Check a certificate from its key to the server that it is for: every link, each with what was found.

    The private key is read, used for a handshake, and kept in memory only.

    Exit status: 0 every check is ok, 1 one failed, 2 something could not be told and nothing failed.
    """
    asked_for = _asked_for(endpoint, server_ca)
    with context.doing("looking"):
        stored = stored_at(context.deployment, secret, label)
        try:
            material = read(stored)
        except (InvalidSecretError, ValueError) as error:
            return _unreadable(context.deployment, stored, label, error)
        where = choose_endpoint(material.secret, asked_for, context.deployment.outputs)
        return judge(gather(context.deployment, material, label, where))


def judge(seen: Evidence) -> VerifyReport:
    """Make the report of what was gathered. Pure."""
    held = seen.material
    return VerifyReport(
        secret=held.name,
        label=seen.label,
        version_id=held.version_id,
        kind=held.secret.kind,
        subject=short_subject(held.certificate),
        issuer=rfc4514(held.certificate.issuer),
        serial_number=serial(held.certificate),
        fingerprint_sha256=fingerprint(held.certificate),
        not_after=held.certificate.not_valid_after_utc,
        endpoint=ProbeResult.of(seen.endpoint.url, seen.probed)
        if seen.endpoint and not isinstance(seen.probed, str)
        else None,
        checks=examine(seen),
    )


def choose_endpoint(
    secret: ManagedSecret, asked_for: tuple[str | None, str | None], outputs: Mapping[str, str]
) -> EndpointSettings | None:
    """Where a certificate is tried: where the operator says, where the secret says, or at the stack's gateway. Pure.

    Args:
        secret: its own endpoint's CA counts for every URL of the same server.
        asked_for: URL and PEM of the server's CA, each if it was given.
        outputs: the stack's.

    Raises:
        InvalidInputError: it is not an https URL.
    """
    url, server_ca = asked_for
    own = provers.settings_of(secret.endpoint, "the secret") if secret.endpoint else None
    if secret.kind == "ca":
        return None
    if url is None and own is not None:
        return own.model_copy(update={"server_ca": server_ca}) if server_ca else own
    if url is None and secret.gateway_trusts:
        url = outputs.get("GatewayUrl")
    if url is None:
        return None
    if own is not None and _server(url) == _server(own.url):
        server_ca = server_ca or own.server_ca
    return _valid_endpoint(url, server_ca)


def _valid_endpoint(url: str, server_ca: str | None) -> EndpointSettings:
    document = {"url": url, "server_ca": server_ca} if server_ca else {"url": url}
    try:
        return provers.settings_of(Endpoint.model_validate(document), "--endpoint")
    except InvalidSecretError as error:
        raise InvalidInputError(
            where="--endpoint", found=repr(url), expected=error.expected, remedy="Give the whole URL."
        ) from None


def _server(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return url  # which no endpoint has


def _asked_for(url: str | None, server_ca: Path | None) -> tuple[str | None, str | None]:
    """The options, refused before anything is looked at if they cannot be used."""
    pem = documents.certificates(str(server_ca), "--server-ca") if server_ca else None
    if url is not None:
        _valid_endpoint(url, pem)
    return url, pem


def _unreadable(deployment: Deployment, stored: SecretVersion, label: Label, error: Exception) -> VerifyReport:
    reason = error.found if isinstance(error, InvalidSecretError) else str(error)
    services = deployment.services
    stages = services.versions.describe(stored.arn).stages
    filed = read_filed(services.bucket, stored.name, services.clock()) if label is Label.CURRENT else []
    back = bring_back(stored.name, stages, filed) if label is Label.CURRENT else ""
    if label is Label.PENDING:
        back = begin_afresh(stored.name, stored.version_id)
    remedy = back or f"mtlsctl rotate {stored.name} --wait"
    failed = Check(name="value", result=Result.FAILED, reason=reason, remedy=remedy)
    return VerifyReport(secret=stored.name, label=label, version_id=stored.version_id, checks=[failed])
