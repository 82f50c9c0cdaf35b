"""`mtlsctl revoke`: has a certificate refused from now on, and what holds it rotated; `--undo` takes that back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, override

import typer

from mtls_rotation.contract.labels import AWSCURRENT, AWSPENDING
from mtls_rotation.errors import SupersededError
from mtls_rotation.revocation.notices import Reason
from mtlsctl.errors import InvalidInputError
from mtlsctl.exit_status import ExitStatus
from mtlsctl.frame.asking import confirm
from mtlsctl.frame.command import CommandContext
from mtlsctl.frame.completion import OptionalSecretArgument
from mtlsctl.frame.waiting import await_end
from mtlsctl.report import Finding, Model, Report, Severity, worst
from mtlsctl.revocation import Files, listed, notice_key, of_file, of_name, register, shared
from mtlsctl.show import line, shown
from mtlsctl.stack.material import Label

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from mtlsctl.revocation import Holder, Request, Target
    from mtlsctl.stack.deployment import Deployment

_TIMEOUT = 120.0
_JSON = "application/json"


class Held(Model):
    """A secret's version that holds the certificate.

    Attributes:
        labels: the staging labels on it, before.
        rotates: whether the secret is rotated because of it.
    """

    secret: str
    version_id: str
    labels: list[str]
    rotates: bool


class RevokeReport(Report):
    """A certificate, and whether it is revoked.

    Attributes:
        issuer: as RFC 4514 writes it.
        serial_number: lower-case hex.
        subject: empty where the certificate itself is not at hand.
        revoked: what was asked for: true, or with --undo false.
        changed: whether anything had to be done for it.
        notices: the objects that say so, or that said so, as s3:// URIs.
        held_by: who holds it; with --undo nobody is named.
        completed: whether the revocation list follows, and everything that holds the certificate has rotated; null if
            that was not waited for.
    """

    issuer: str
    serial_number: str
    subject: str
    reason: Reason
    revoked: bool
    changed: bool
    notices: list[str]
    held_by: list[Held]
    completed: bool | None
    findings: list[Finding]

    @property
    @override
    def exit_status(self) -> ExitStatus:
        return worst(self.findings)

    @override
    def render(self) -> Iterable[RenderableType]:
        yield line((f"{self.subject or 'Certificate'}, serial number {self.serial_number}", "bold"))
        yield line((f"issued by {self.issuer}", ""))
        for uri in self.notices:
            yield line((("by " if self.revoked else "deleted: ") + uri, ""))
        yield from shown(self.findings, self._end())

    def _end(self) -> str:
        state = "revoked" if self.revoked else "not revoked any more"
        if not self.changed:
            return f"It is {state} already."
        if self.completed is None:
            return f"It will be {state} within seconds."
        rotated = "".join(f", and {it.secret} has another" for it in self.held_by if it.rotates)
        return f"It is {state}{rotated}."


def revoke(
    context: CommandContext,
    secret: OptionalSecretArgument = None,
    label: Annotated[Label, typer.Option(help="Which version of the secret.")] = Label.CURRENT,
    certificate: Annotated[Path | None, typer.Option(metavar="FILE", help="A file with it, PEM or DER.")] = None,
    issuer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Its issuer, such as 'CN=Example CA,O=Example'.")
    ] = None,
    serial: Annotated[str | None, typer.Option(metavar="HEX", help="Its serial number in hex; with --issuer.")] = None,
    reason: Annotated[Reason, typer.Option(help="Why, for the CRL.")] = "unspecified",
    undo: Annotated[bool, typer.Option("--undo", help="Take the revocation back.", show_default=False)] = False,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Wait until the list has it and what held it has rotated.", show_default=False),
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="How long --wait waits at most.")
    ] = _TIMEOUT,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing.", show_default=False)] = False,
) -> RevokeReport:
    """Revoke one certificate: name the secret that holds it, a file, or its issuer and serial number.

    Exit status: 0 done, 1 a secret that holds it is not rotated by itself, 2 it could not be done or took too long.
    """
    named = _named(secret, certificate, issuer, serial, reason)
    with context.doing("looking"):
        files = Files(context.deployment)
        target = files.target(files.of_secret(named, label, reason) if isinstance(named, str) else named)
    if undo:
        return _release(context, files, target, by_secret=isinstance(named, str), wait=wait, timeout=timeout, yes=yes)
    return _revoke(context, files, target, wait=wait, timeout=timeout, yes=yes)


def consequences(
    target: Target, holders: Sequence[Holder], parameters: Mapping[str, str], *, filed: bool = True
) -> Iterator[str]:
    """What follows from a revocation, in words. Pure.

    Args:
        target: what is revoked.
        holders: who holds it.
        parameters: the stack's.
        filed: whether a certificate that was issued here is the one that is meant.
    """
    if not (filed or target.subject):
        yield "No such certificate is filed here: look at the serial number again, unless it was issued elsewhere."
    whom = target.subject or "The certificate"
    if parameters.get("DomainName") and parameters.get("Authorizer", "enabled") == "enabled":
        seconds = parameters.get("RevocationTtlSeconds", "60")
        yield f"{whom} is refused by the gateway within {seconds} s from when the revocation list has it."
    yield "The CRL of its CA lists it, if that is one of the stack's: servers elsewhere refuse it when they read that."
    for it in holders:
        if it.rotates:
            yield f"{it.secret} is rotated at once; its applications have another when they next look."
        elif it.in_use:
            yield f"{it.secret} holds it, and no function rotates it: its applications are refused."
    if not any(it.in_use for it in holders):
        yield "No secret of the stack is rotated: none has it at AWSCURRENT or AWSPENDING."


def _named(
    secret: str | None, certificate: Path | None, issuer: str | None, serial: str | None, reason: Reason
) -> Request | str:
    """What the operator names, before anything is looked at; of a secret, its name.

    Raises:
        InvalidInputError: it is nothing, or more than one thing, or half of one.
        UnusableNoticeError: it cannot be revoked.
    """
    match secret, certificate, issuer, serial:
        case str(), None, None, None:
            return secret
        case None, Path(), None, None:
            return of_file(certificate, reason)
        case None, None, str(), str():
            return of_name(issuer, serial, reason)
    options = {"SECRET": secret, "--certificate": certificate, "--issuer": issuer, "--serial": serial}
    raise InvalidInputError(
        where="mtlsctl revoke",
        found=" and ".join(name for name, value in options.items() if value is not None) or "no certificate",
        expected="one certificate: SECRET, or --certificate FILE, or --issuer NAME with --serial HEX",
        remedy="Nothing was uploaded. Name it in one of these ways.",
    )


def _revoke(
    context: CommandContext, files: Files, target: Target, *, wait: bool, timeout: float, yes: bool
) -> RevokeReport:
    with context.doing("looking"):
        holders, filed = files.holders(target), files.is_filed(target)
        found = files.notices_of(target)
    key = notice_key(target, holders)
    if not found:
        for told in consequences(target, holders, context.deployment.parameters, filed=filed):
            context.tell(f"· {told}")
        confirm(context, f"Revoke {target.subject or target.certificate}?", yes=yes)
        _upload(context.deployment, key, target)
    if wait:
        _await_revoked(context, target, [it for it in holders if it.rotates], timeout)
    return RevokeReport(
        **_described(target),
        revoked=True,
        changed=not found,
        notices=_uris(context.deployment, found or [key]),
        held_by=[_held(it) for it in holders],
        completed=True if wait else None,
        findings=not_rotated(holders),
    )


def nothing_to_undo(*, by_secret: bool) -> str:
    """What to do where no revocation of what was named is found. Pure."""
    if by_secret:
        return "The secret has rotated since: give --label AWSPREVIOUS, or name it by --issuer and --serial."
    return (
        "Nothing was changed. Look at the serial number again; the objects under revoked/ and revocation/list.json in"
        " the bucket say what is revoked."
    )


def _release(
    context: CommandContext,
    files: Files,
    target: Target,
    *,
    by_secret: bool,
    wait: bool,
    timeout: float,
    yes: bool,
) -> RevokeReport:
    with context.doing("looking"):
        found = files.notices_of(target)
    if not found and not listed(target, files.register()):
        raise InvalidInputError(
            where="--undo",
            found=f"no revocation of {target.certificate}",
            expected="a certificate that is revoked",
            remedy=nothing_to_undo(by_secret=by_secret),
        )
    if key := shared(found.items()):
        raise InvalidInputError(
            where=f"s3://{context.deployment.services.bucket.name}/{key}",
            found="a notice that revokes other certificates as well",
            expected="one that can be deleted for this certificate alone",
            remedy="Nothing was changed. Revoke the others by notices of their own, and delete it then.",
        )
    if found:
        whom = target.subject or str(target.certificate)
        confirm(context, f"Let {whom} in again, by deleting {' and '.join(found)}?", yes=yes)
        for notice in found:
            context.deployment.services.bucket.delete(notice)
    if wait:
        _await_released(context, target, timeout)
    return RevokeReport(
        **_described(target),
        revoked=False,
        changed=bool(found),
        notices=_uris(context.deployment, found),
        held_by=[],
        completed=True if wait else None,
        findings=[],
    )


def _upload(deployment: Deployment, key: str, target: Target) -> None:
    """Put the notice, in the place of no other: that would release what the other revokes."""
    try:
        deployment.services.bucket.replace(key, target.body, None, content_type=_JSON)
    except SupersededError as error:
        raise InvalidInputError(
            where=error.where,
            found="an object that revokes something else, or nothing",
            expected="no object under that key",
            remedy="Nothing was uploaded. Move that object to another key under revoked/, and revoke again.",
        ) from None


def _await_revoked(context: CommandContext, target: Target, holders: Sequence[Holder], seconds: float) -> None:
    deployment = context.deployment

    def what_is_left() -> str:
        if not listed(target, register(deployment.services.bucket)):
            return "it is not on the revocation list yet"
        waiting = [it.secret for it in holders if not _has_rotated(deployment, it)]
        return f"{', '.join(waiting)} has not rotated yet" if waiting else ""

    with context.doing("waiting"):
        await_end(
            context,
            what_is_left,
            seconds,
            where=str(target.certificate),
            expected="it on the revocation list, and another certificate in every secret that held it",
            remedy="See `mtlsctl status`, and the log of the revocation function.",
        )


def _await_released(context: CommandContext, target: Target, seconds: float) -> None:
    bucket = context.deployment.services.bucket
    with context.doing("waiting"):
        await_end(
            context,
            lambda: "it is still on the revocation list" if listed(target, register(bucket)) else "",
            seconds,
            where=str(target.certificate),
            expected="it off the revocation list",
            remedy="See the log of the revocation function.",
        )


def _has_rotated(deployment: Deployment, holder: Holder) -> bool:
    described = deployment.services.versions.describe(holder.secret)
    current, pending = described.version_at(AWSCURRENT), described.version_at(AWSPENDING)
    return holder.version_id not in {current, pending} and pending in {None, current}


def _described(target: Target) -> dict[str, str]:
    return {
        "issuer": target.certificate.issuer,
        "serial_number": target.certificate.serial_number,
        "subject": target.subject,
        "reason": target.reason,
    }


def _held(holder: Holder) -> Held:
    return Held(
        secret=holder.secret,
        version_id=holder.version_id,
        labels=sorted(holder.labels),
        rotates=holder.rotates,
    )


def not_rotated(holders: Iterable[Holder]) -> list[Finding]:
    """Those that go on holding it, for no function rotates them. Pure."""
    return [_not_rotated(it) for it in holders if it.in_use and not it.rotates]


def _not_rotated(holder: Holder) -> Finding:
    return Finding(
        severity=Severity.ATTENTION,
        subject=holder.secret,
        what="it holds the revoked certificate, and no function rotates it",
        remedy=f"Switch its rotation on: `mtlsctl doctor` shows how. That rotates {holder.secret} at once.",
        runbook="Revocation fails",
    )


def _uris(deployment: Deployment, keys: Iterable[str]) -> list[str]:
    return [f"s3://{deployment.services.bucket.name}/{key}" for key in keys]
