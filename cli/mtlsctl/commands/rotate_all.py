"""`mtlsctl rotate --all --ca NAME`: another CA, then all that hangs on it, then the former CA is distrusted."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import batched
from typing import TYPE_CHECKING, override

from botocore.exceptions import ClientError
from rich.text import Text

from mtls_rotation.aws.secret_versions import out_of_reach
from mtls_rotation.contract.labels import AWSCURRENT, AWSPENDING, end_of_issuing
from mtls_rotation.errors import MtlsRotationError, RotationNotEnabledError
from mtls_rotation.pki.certificates import serial, short_subject
from mtls_rotation.timing import Deadline
from mtlsctl.distrust import (
    RefusedCertificate,
    at_hand,
    await_running,
    consequences,
    entry_of,
    outlook,
    put,
    shut_out,
)
from mtlsctl.errors import InvalidInputError, NotConfirmedError, StillUnderWayError, from_aws
from mtlsctl.following.rotation import LATE, Follower, Outcome, require_rotating, start
from mtlsctl.frame.asking import confirm
from mtlsctl.report import Finding, Model, Report, Severity, worst
from mtlsctl.show import Column, FittingTable, line, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from cryptography import x509
    from rich.console import RenderableType

    from mtls_rotation.aws.secret_versions import SecretDescription
    from mtlsctl.exit_status import ExitStatus
    from mtlsctl.following.rotation import Started
    from mtlsctl.frame.command import CommandContext
    from mtlsctl.stack.deployment import Deployment

# Rotations at once: each is a function that runs, and all wait for one truststore.
_AT_ONCE = 10
# A rotation that was under way may end with a certificate by the former CA: so it is rotated once more, and no oftener.
_TRIES = 2


class Rotated(Model):
    """A secret, and what has become of its rotation.

    Attributes:
        failure: why it has not ended well, in a line; empty if it has.
    """

    secret: str
    version_id: str
    done: bool
    failure: str


class ReplacementReport(Report):
    """A CA that has another in its place, and what hung on it.

    Attributes:
        ca: its own rotation.
        rotated: those of the clients that hung on it.
        former: the fingerprints of what it was before, as far as that is trusted.
        refused: the certificates of the stack's secrets that are refused once that is distrusted.
        distrusted: whether it is.
        completed: whether every domain runs a truststore without it; null where it is not distrusted.
    """

    ca: Rotated
    rotated: list[Rotated]
    former: list[str]
    refused: list[RefusedCertificate]
    distrusted: bool
    completed: bool | None
    findings: list[Finding]

    @property
    @override
    def exit_status(self) -> ExitStatus:
        return worst(self.findings)

    @override
    def render(self) -> Iterable[RenderableType]:
        table = FittingTable(Column("secret"), Column("version"), Column(whole=False))
        for it in (self.ca, *self.rotated):
            style = "green" if it.done else "bold red"
            table.add_row(it.secret, it.version_id[:8], Text("done" if it.done else it.failure, style=style))
        yield table
        for key in self.former:
            state = "distrusted" if self.distrusted else "still trusted"
            yield line((f"{key[:16]}… is {state}", "bold" if self.distrusted else "bold red"))
        out = "the former is out" if len(self.former) == 1 else "the former ones are out"
        yield from shown(self.findings, f"Whatever hung on it has a certificate by the new CA, and {out}.")


@dataclass(frozen=True, slots=True)
class Hanging:
    """What hangs on a CA secret.

    Attributes:
        former: by fingerprint, the certificates of the CA that are trusted, without the newest once that is made.
        clients: the secrets of whose certificates one that is in use, or is being made, chains to these.
        unable: by name, why one of them cannot be rotated.
        stale: by name, the version that is being made and chains to one of these.
    """

    former: Mapping[str, x509.Certificate]
    clients: tuple[SecretDescription, ...] = ()
    unable: Mapping[str, str] = field(default_factory=dict)
    stale: Mapping[str, str] = field(default_factory=dict)


def rotate_all(context: CommandContext, name: str, *, timeout: float, yes: bool) -> ReplacementReport:
    """Rotate a CA, then all that hangs on it, and then distrust the former one.

    Raises:
        InvalidInputError: the secret is no CA's.
        NotConfirmedError: the operator does not want it.
    """
    deployment = context.deployment
    with context.doing("looking"):
        ca = deployment.secret(name)
        require_rotating(deployment, ca)
        hanging = look(deployment, ca)
    for told in beforehand(ca.name, hanging):
        context.tell(f"· {told}")
    confirm(context, f"Rotate {ca.name}, then all of that, and then distrust what it was?", yes=yes)

    unfinished = "What has begun goes on by itself; the former CA is trusted still. To have it out, begin again:"
    with context.waiting(f"{unfinished} mtlsctl rotate --all --ca {ca.name}"):
        rotations = Rotations(context, timeout)
        of_ca = rotations.afresh(ca)
        if not of_ca.done:
            return judge(of_ca, [], hanging.former, (), distrusted=False, completed=None)
        end_notice(deployment, ca)
        hanging = look(deployment, ca, of_ca.version_id)  # what the former CA signed meanwhile hangs on it, too
        of_clients = rotations.of_clients(hanging)
        for _ in range(_TRIES - 1):
            with context.doing("looking"):
                hanging = look(deployment, ca, of_ca.version_id)
            again = rotations.of_clients(hanging, only={it.secret for it in of_clients if it.done})
            of_clients = list(({it.secret: it for it in of_clients} | {it.secret: it for it in again}).values())
    return _distrust(context, of_ca, of_clients, hanging, timeout=timeout, yes=yes)


def look(deployment: Deployment, ca: SecretDescription, newest: str | None = None) -> Hanging:
    """What hangs on a CA secret now.

    Args:
        deployment: of the stack.
        ca: the CA secret.
        newest: the version that was just made, on which all is to hang.

    Raises:
        InvalidInputError: no CA is filed for the secret.
    """
    preview = deployment.assembly.sync.preview()
    known = at_hand(preview.seen)
    own = [it for it in preview.seen.issued if it.authority and it.secret == ca.name]
    if not own:
        raise InvalidInputError(
            where=f"--ca {ca.name}",
            found="a secret for which no CA is filed",
            expected="a CA secret of the stack",
            remedy="Nothing was changed. `mtlsctl status` lists the CAs.",
        )
    # A CA that has others above it is filed under these, too: its own certificate is the one with its serial number.
    former = {
        it.anchor: known[it.anchor]
        for it in own
        if it.version_id != newest
        and it.anchor in known
        and serial(known[it.anchor]) == it.serial_number
        and (it.anchor in preview.deployed or it.anchor in preview.plan.anchors)
    }
    chained = defaultdict(set)
    for it in preview.seen.issued:
        if not it.authority and it.anchor in former:
            chained[it.secret].add(it.version_id)
    filed = {(it.secret, it.version_id) for it in preview.seen.issued}
    # Each by itself: a listing may be minutes late, and shows what has rotated as it was.
    described = filter(None, (_described(deployment, name) for name in sorted(chained)))
    clients = [secret for secret in described if _hangs(secret, chained[secret.name], filed)]
    return Hanging(
        former=former,
        clients=tuple(clients),
        unable={it.name: why for it in clients if (why := _unable(deployment, it))},
        stale={
            it.name: pending
            for it in clients
            if (pending := it.version_at(AWSPENDING)) in chained[it.name] and pending != it.version_at(AWSCURRENT)
        },
    )


def beforehand(name: str, hanging: Hanging) -> Iterator[str]:
    """What is going to be done, in words and in its order. Pure."""
    yield f"{name} is rotated: another CA, which is trusted before anything is signed by it."
    yield f"Then what hangs on it: {', '.join(it.name for it in hanging.clients) or 'nothing'}."
    for secret, why in hanging.unable.items():
        yield f"Not {secret}, which cannot be rotated: {why}. You are asked again before anything shuts it out."
    for key, certificate in hanging.former.items():
        yield f"Then {short_subject(certificate)} ({key[:16]}…) is distrusted, and leaves without overlap."
    yield "Servers elsewhere have to be given the new CA, and to take the former out, by themselves."


class Rotations:
    """Rotations that are begun, and followed to their ends."""

    def __init__(self, context: CommandContext, timeout: float) -> None:
        self._context = context
        self._deployment = context.deployment
        self._timeout = timeout

    def afresh(self, secret: SecretDescription) -> Rotated:
        """Rotate a secret. One that was under way already is ended first: its key is as old as it is."""
        for _ in range(_TRIES):
            try:
                started = start(self._deployment, secret)
            except (MtlsRotationError, ClientError) as error:
                return _not_begun(secret, error)
            ended = self._follow(started)
            if not started.taken_up or not (ended.done or ended.failure == Outcome.CANCELLED):
                return ended
        return ended

    def of_clients(self, hanging: Hanging, only: Collection[str] | None = None) -> list[Rotated]:
        """Rotate what hangs on a former CA, some at once. What fails holds up no other.

        Args:
            hanging: what does.
            only: the names of those that are to be rotated; None for all.
        """
        wanted = [it for it in hanging.clients if only is None or it.name in only]
        found = []
        for some in batched(wanted, _AT_ONCE, strict=False):
            begun: list[Started | Rotated] = [self._begin(it, hanging) for it in some]
            found += [it if isinstance(it, Rotated) else self._follow(it) for it in begun]
        self._await_shown(it for it in found if it.done)
        return found

    def _await_shown(self, rotated: Iterable[Rotated]) -> None:
        """Wait until Secrets Manager shows what has rotated as it is: its reads are eventually consistent."""
        left = {it.secret: it.version_id for it in rotated}
        for _ in Deadline.within(LATE).attempts():
            for name, version in list(left.items()):
                described = _described(self._deployment, name)
                if described is None or described.version_at(AWSCURRENT) == version:
                    del left[name]
            if not left:
                return

    def _begin(self, secret: SecretDescription, hanging: Hanging) -> Started | Rotated:
        if why := hanging.unable.get(secret.name):
            return Rotated(secret=secret.name, version_id="", done=False, failure=why)
        try:
            if stale := hanging.stale.get(secret.name):
                # It would be taken up, with a certificate by the former CA.
                self._give_up(secret, stale)
            return start(self._deployment, secret)
        except (MtlsRotationError, ClientError) as error:
            return _not_begun(secret, error)

    def _give_up(self, secret: SecretDescription, version_id: str) -> None:
        """Take AWSPENDING off a version, unless it has gone on by itself meanwhile: Secrets Manager tries again."""
        client = self._deployment.session.client("secretsmanager")
        try:
            client.update_secret_version_stage(
                SecretId=secret.arn, VersionStage=AWSPENDING, RemoveFromVersionId=version_id
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidParameterException":
                raise

    def _follow(self, started: Started) -> Rotated:
        try:
            sight, end = Follower(self._context).follow(started, self._timeout)
        except (MtlsRotationError, ClientError) as error:
            return Rotated(secret=started.name, version_id=started.version_id, done=False, failure=_line(error))
        done = end is Outcome.DONE
        why = sight.ended.reason if end is Outcome.FAILED and sight.ended else str(end)
        return Rotated(secret=started.name, version_id=started.version_id, done=done, failure="" if done else why)


def end_notice(deployment: Deployment, ca: SecretDescription) -> None:
    """Have the new CA issue at once: while it is only announced, the former one goes on issuing."""
    client = deployment.session.client("secretsmanager")
    for version, labels in deployment.services.versions.describe(ca.arn).stages.items():
        for label in labels:
            if end_of_issuing(label) is not None:
                client.update_secret_version_stage(SecretId=ca.arn, VersionStage=label, RemoveFromVersionId=version)


def _distrust(
    context: CommandContext,
    of_ca: Rotated,
    of_clients: Sequence[Rotated],
    hanging: Hanging,
    *,
    timeout: float,
    yes: bool,
) -> ReplacementReport:
    """Distrust what the CA was, unless that shuts somebody out and nobody has said that it may."""
    with context.doing("looking"):
        ahead = outlook(context.deployment, [entry_of(it) for it in hanging.former.values()])
    for told in consequences(ahead):
        context.tell(f"· {told}")
    hit = sorted({it.secret for it in of_clients if not it.done} | {it.secret for it in ahead.refused if it.in_use})
    if ahead.stopped or not may_distrust(context, hit, yes=yes):
        return judge(of_ca, of_clients, hanging.former, ahead.refused, distrusted=False, completed=None)
    put(context.deployment, [entry_of(it) for it in hanging.former.values()])
    completed = True
    try:
        await_running(context, "every domain to run a truststore without it", set(ahead.gone).isdisjoint, timeout)
    except StillUnderWayError:
        completed = False
    return judge(of_ca, of_clients, hanging.former, ahead.refused, distrusted=True, completed=completed)


def may_distrust(context: CommandContext, hit: Sequence[str], *, yes: bool) -> bool:
    """Whether to go on. What was said beforehand does not hold for secrets that are shut out by it.

    Args:
        context: says whether an operator is there to ask.
        hit: the secrets whose certificate in use is refused then.
        yes: whether it was answered beforehand.
    """
    question = "Distrust the former CA now?"
    if hit:
        question = f"Their certificates in use are refused then: {', '.join(hit)}. {question}"
    try:
        confirm(context, question, yes=yes and not hit)
    except NotConfirmedError:
        return False
    return True


def judge(
    of_ca: Rotated,
    of_clients: Sequence[Rotated],
    former: Mapping[str, x509.Certificate],
    refused: Sequence[RefusedCertificate],
    *,
    distrusted: bool,
    completed: bool | None,
) -> ReplacementReport:
    """Make the report. Pure."""
    findings = [_failed(it) for it in (of_ca, *of_clients) if not it.done]
    if distrusted:
        findings += shut_out(refused)
    else:
        findings += [_still_trusted(key, it) for key, it in former.items()]
    if completed is False:
        findings.append(_not_everywhere())
    return ReplacementReport(
        ca=of_ca,
        rotated=list(of_clients),
        former=sorted(former),
        refused=list(refused),
        distrusted=distrusted,
        completed=completed,
        findings=findings,
    )


def _failed(rotated: Rotated) -> Finding:
    return Finding(
        severity=Severity.ATTENTION,
        subject=rotated.secret,
        what=f"it has no certificate by the new CA: {rotated.failure}",
        remedy=f"mtlsctl rotate {rotated.secret} --wait",
        runbook=_RUNBOOK,
    )


def _still_trusted(key: str, certificate: x509.Certificate) -> Finding:
    return Finding(
        severity=Severity.ATTENTION,
        subject=f"anchor {key[:8]}… {short_subject(certificate)}",
        what="it is trusted still",
        remedy=f"mtlsctl truststore distrust {key[:16]} --wait",
        runbook=_RUNBOOK,
    )


def _not_everywhere() -> Finding:
    return Finding(
        severity=Severity.ATTENTION,
        subject="truststore",
        what="the former CA is distrusted, and not every domain runs a truststore without it yet",
        remedy="mtlsctl truststore show",
        runbook="The truststore does not follow",
    )


def _described(deployment: Deployment, name: str) -> SecretDescription | None:
    try:
        return deployment.services.versions.describe(name)
    except ClientError as error:
        if out_of_reach(error) is None:
            raise
        return None  # it is gone


def _hangs(secret: SecretDescription, chained: Collection[str], filed: Collection[tuple[str, str]]) -> bool:
    """Whether a certificate of its chains to the former CA that is in use or comes into use, or may do so.

    Of a version that was edited by hand, none is filed.
    """
    versions = {it for it in (secret.version_at(AWSCURRENT), secret.version_at(AWSPENDING)) if it}
    return any(it in chained or (secret.name, it) not in filed for it in versions)


def _unable(deployment: Deployment, secret: SecretDescription) -> str:
    try:
        require_rotating(deployment, secret)
    except (InvalidInputError, RotationNotEnabledError) as error:
        return error.found
    return ""


def _not_begun(secret: SecretDescription, error: MtlsRotationError | ClientError) -> Rotated:
    return Rotated(secret=secret.name, version_id="", done=False, failure=_line(error))


def _line(error: MtlsRotationError | ClientError) -> str:
    return str(from_aws(error) if isinstance(error, ClientError) else error)


_RUNBOOK = "The key of a CA was stolen"
