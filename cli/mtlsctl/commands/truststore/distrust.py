"""`mtlsctl truststore distrust`: takes an anchor out with the next publish; `--undo` takes that back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, override

import typer
from rich.text import Text

from mtls_rotation.contract import layout
from mtls_rotation.pki.certificates import short_subject
from mtlsctl.commands.truststore.lines import StopLine
from mtlsctl.distrust import (
    Outlook,
    RefusedCertificate,
    ask_for_sync,
    at_hand,
    await_running,
    borrowed,
    consequences,
    entry_of,
    named,
    outlook,
    put,
    shut_out,
    still_vouched_for,
)
from mtlsctl.errors import InvalidInputError
from mtlsctl.exit_status import ExitStatus
from mtlsctl.frame.asking import confirm
from mtlsctl.frame.command import CommandContext
from mtlsctl.report import Finding, Report, worst
from mtlsctl.show import line, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography import x509
    from rich.console import RenderableType

# Some domains, each of which waits 30 seconds for the one before.
_TIMEOUT = 180.0


class DistrustReport(Report):
    """A CA certificate, and whether it is distrusted.

    Attributes:
        subject: empty where the certificate is not at hand any more.
        distrusted: what was asked for: true, or with --undo false. Not where a guard is in the way.
        changed: whether anything had to be done for it.
        uri: the object that says so, or that said so.
        anchors: the fingerprints of what goes with it, or comes back: every certificate of its key.
        refused: the certificates of the stack's secrets that are refused; with --undo nobody is named.
        stop: the guard that keeps it from being done, such as that nothing would be left. Null if it was done.
        completed: whether every domain runs a truststore that follows; null if that was not waited for.
    """

    fingerprint_sha256: str
    subject: str
    distrusted: bool
    changed: bool
    uri: str
    anchors: list[str]
    refused: list[RefusedCertificate]
    stop: StopLine | None
    completed: bool | None
    findings: list[Finding]

    @property
    @override
    def exit_status(self) -> ExitStatus:
        return ExitStatus.ATTENTION if self.stop else worst(self.findings)

    @override
    def render(self) -> Iterable[RenderableType]:
        yield line((f"{self.subject or 'A certificate'}, SHA-256 {self.fingerprint_sha256}", "bold"))
        if self.stop:
            yield from self.stop.render()
            yield Text("Nothing was changed.", style="bold")
            return
        yield line((("by " if self.distrusted else "deleted: ") + self.uri, ""))
        yield from shown(self.findings, self._end())
        if self.findings:
            yield Text(self._end(), style="bold")

    def _end(self) -> str:
        done = self.completed
        if self.distrusted:
            state = "out" if self.changed else "distrusted already"
            if done:
                return f"It is {state}, on every domain."
            return "It will be out within seconds." if self.changed else f"It is {state}."
        if not self.anchors:
            return "It is distrusted no more, and nothing holds it, so it stays out."
        return "It is trusted again, on every domain." if done else "It will be trusted again within seconds."


def distrust(
    context: CommandContext,
    sha256: Annotated[
        str,
        typer.Argument(metavar="SHA256", help="Fingerprint of the CA certificate, or 8 or more of its first digits."),
    ],
    undo: Annotated[bool, typer.Option("--undo", help="Take that back.", show_default=False)] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until every domain runs a truststore that follows.", show_default=False)
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="How long --wait waits at most.")
    ] = _TIMEOUT,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing.", show_default=False)] = False,
    key_of_ours: Annotated[
        bool,
        typer.Option(
            "--key-of-ours", help="Even if it has the key of a CA of the stack's secrets.", show_default=False
        ),
    ] = False,
) -> DistrustReport:
    """Take an anchor out of the truststore with the next publish, whatever holds it, without overlap.

    It says first who is refused, and asks. Every certificate of the same key goes with it; where that is the key of a
    CA of the stack's secrets, and the certificate is no secret's, it is refused without --key-of-ours. A truststore is
    never left empty: API Gateway takes none that is. For the stolen key of a CA of your own,
    `mtlsctl rotate --all --ca NAME` rotates first whatever hangs on it.

    Exit status: 0 done, 1 certificates in use are refused by it, or nothing would be left; 2 it could not be done or
    took too long.
    """
    with context.doing("looking"):
        seen = context.deployment.assembly.sync.preview().seen
    if undo:
        entries = {it.fingerprint: it for it in seen.distrusted if it.fingerprint}
        key = named(sha256, dict.fromkeys(entries))
        return _trust(context, key, at_hand(seen).get(key), wait=wait, timeout=timeout, yes=yes)
    known = at_hand(seen)
    key = named(sha256, known)
    there = any(it.fingerprint == key for it in seen.distrusted)
    return _distrust(
        context, key, known[key], there=there, wait=wait, timeout=timeout, yes=yes, key_of_ours=key_of_ours
    )


def _distrust(
    context: CommandContext,
    key: str,
    certificate: x509.Certificate,
    *,
    there: bool,
    wait: bool,
    timeout: float,
    yes: bool,
    key_of_ours: bool,
) -> DistrustReport:
    deployment, entry = context.deployment, entry_of(certificate)
    with context.doing("looking"):
        ahead = outlook(deployment, [entry])
    if not there and not key_of_ours:
        require_of_a_strangers_key(certificate, ahead)
    stop = StopLine.of(ahead.preview.stop) if ahead.stopped else None
    if stop is None and not there:
        for told in consequences(ahead):
            context.tell(f"· {told}")
        confirm(context, f"Distrust {short_subject(certificate)}?", yes=yes)
    if stop is None:
        put(deployment, [entry])
    gone = set(ahead.gone) | {key}
    if stop is None and wait:
        await_running(context, "every domain to run a truststore without it", gone.isdisjoint, timeout)
    return DistrustReport(
        fingerprint_sha256=key,
        subject=short_subject(certificate),
        distrusted=stop is None,
        changed=stop is None and not there,
        uri=deployment.services.bucket.uri(entry.key),
        anchors=sorted(ahead.gone),
        refused=list(ahead.refused),
        stop=stop,
        completed=True if wait and stop is None else None,
        findings=[*shut_out(ahead.refused), *still_vouched_for(ahead)],
    )


def require_of_a_strangers_key(certificate: x509.Certificate, ahead: Outlook) -> None:
    """See that a certificate that is no secret's does not take the CA of one along.

    Raises:
        InvalidInputError: it would.
    """
    taken = borrowed(ahead)
    if not taken:
        return
    ours = ", ".join(
        f"{short_subject(ahead.gone[it])} ({it[:16]}…), which {', '.join(secrets)} chain to"
        for it, secrets in sorted(taken.items())
    )
    raise InvalidInputError(
        where="SHA256",
        found=f"{short_subject(certificate)}, a certificate over the key of {ours}",
        expected="one whose key no CA of the stack's secrets has: every certificate of the key goes with it, and"
        " anybody can certify a public key",
        remedy="Nothing was changed. To be rid of this certificate alone, delete the upload that holds it. If the key"
        f" itself was stolen, see the runbook, and distrust {min(taken)[:16]}; or say --key-of-ours.",
    )


def _trust(
    context: CommandContext,
    key: str,
    certificate: x509.Certificate | None,
    *,
    wait: bool,
    timeout: float,
    yes: bool,
) -> DistrustReport:
    deployment, name = context.deployment, layout.distrusted_anchor_key(key)
    with context.doing("looking"):
        after = deployment.assembly.sync.preview(trusting=[name])
    before = at_hand(after.seen)
    back = frozenset(after.plan.added)
    whom = short_subject(certificate) if certificate else key
    for it in sorted(back):
        told = f"{short_subject(before[it])} ({it[:16]}…)" if it in before else it
        context.tell(f"· {told} is trusted again.")
    confirm(context, f"Let what {whom} has signed in again?", yes=yes)
    deployment.services.bucket.delete(name)
    ask_for_sync(deployment)
    if wait:
        await_running(context, "every domain to run a truststore with it", set(back).issubset, timeout)
    return DistrustReport(
        fingerprint_sha256=key,
        subject=short_subject(certificate) if certificate else "",
        distrusted=False,
        changed=True,
        uri=deployment.services.bucket.uri(name),
        anchors=sorted(back),
        refused=[],
        stop=None,
        completed=True if wait else None,
        findings=[],
    )
