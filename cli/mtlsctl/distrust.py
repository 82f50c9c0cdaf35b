"""What is to be distrusted, and who is refused by it: from labels and the bucket, without reading a secret."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mtls_rotation.aws.secret_versions import out_of_reach
from mtls_rotation.contract import layout
from mtls_rotation.contract.events import TRUSTSTORE_SYNC_REQUESTED
from mtls_rotation.contract.labels import AWSCURRENT
from mtls_rotation.errors import SupersededError
from mtls_rotation.pki import bundles
from mtls_rotation.pki.certificates import fingerprint, short_subject, to_pem
from mtls_rotation.pki.signatures import signed_by
from mtls_rotation.truststore.distrust import Distrust, refused
from mtls_rotation.truststore.observation import DistrustEntry
from mtls_rotation.truststore.plan import Why
from mtlsctl.errors import InvalidInputError
from mtlsctl.frame.waiting import await_end
from mtlsctl.report import Finding, Model, Severity
from mtlsctl.show import moment
from mtlsctl.stack.targets import targets_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cryptography import x509

    from mtls_rotation.truststore.observation import Observation
    from mtls_rotation.truststore.sync import Preview
    from mtlsctl.frame.command import CommandContext
    from mtlsctl.stack.deployment import Deployment
    from mtlsctl.stack.targets import Target

# So many digits of a fingerprint tell one certificate from another, and are what every table shows.
_FEWEST = 8
# How many certificates are named one by one before a question; the report has them all.
_NAMED = 20


class RefusedCertificate(Model):
    """A certificate of a secret of the stack that is refused.

    Attributes:
        labels: the staging labels on its version; none where a client can only have fetched it earlier.
        carried_over: whether the version at AWSCURRENT was put by hand, so that it may hold this certificate.
        not_after: its end; null where the key of its object does not say.
        anchors: the fingerprints of those of its CAs that are distrusted.
    """

    secret: str
    version_id: str
    labels: list[str]
    carried_over: bool
    serial_number: str
    not_after: datetime | None
    anchors: list[str]

    @property
    def in_use(self) -> bool:
        """Whether it is what clients are given now."""
        return AWSCURRENT in self.labels or self.carried_over

    def __str__(self) -> str:
        labels = ", ".join(self.labels) or "no label any more"
        labels += ", and maybe in what was put at AWSCURRENT by hand" if self.carried_over else ""
        until = f", until {moment(self.not_after)}" if self.not_after else ""
        return f"{self.secret} at {labels} (version {self.version_id[:8]}, serial number {self.serial_number}{until})"


@dataclass(frozen=True, slots=True)
class Outlook:
    """What comes of distrusting.

    Attributes:
        preview: of the next sync, as if it were done already.
        gone: by fingerprint, what leaves the truststore.
        refused: the certificates of the stack's secrets that are refused.
        named: the fingerprints of those that the operator names; the rest of `gone` goes with their keys.
    """

    preview: Preview
    gone: Mapping[str, x509.Certificate]
    refused: tuple[RefusedCertificate, ...]
    named: frozenset[str] = frozenset()

    @property
    def stopped(self) -> bool:
        """Whether a guard stops it: mostly, as nothing would be left in the truststore."""
        return bool(self.preview.held_in)


def entry_of(certificate: x509.Certificate) -> DistrustEntry:
    """What distrusts a certificate."""
    named = fingerprint(certificate)
    return DistrustEntry(layout.distrusted_anchor_key(named), named, certificate)


def outlook(deployment: Deployment, entries: Collection[DistrustEntry]) -> Outlook:
    """Look at what comes of distrusting these, and change nothing."""
    preview = deployment.assembly.sync.preview(distrusting=entries)
    seen = preview.seen
    known = {**at_hand(seen), **{it.fingerprint: it.certificate for it in entries if it.certificate}}
    here = {key: it for key, it in known.items() if key in seen.deployed or _is_wanted(key, seen)}
    gone = Distrust(tuple(entries), known).among_these(here)
    hit = [it for it in refused(seen) if it.anchors & set(gone)]
    stages = {name: _stages(deployment, name) for name in sorted({it.secret for it in hit})}
    filed = {(it.secret, it.version_id) for it in seen.issued}
    lost = tuple(
        RefusedCertificate(
            secret=it.secret,
            version_id=it.version_id,
            labels=sorted(stages[it.secret].get(it.version_id, ())),
            carried_over=_is_put_by_hand(it.secret, stages[it.secret], filed),
            serial_number=it.serial_number,
            not_after=it.not_after,
            anchors=sorted(it.anchors),
        )
        for it in hit
    )
    by_use = sorted(lost, key=lambda it: (not it.in_use, not it.labels, it.secret))
    return Outlook(preview, gone, tuple(by_use), frozenset(it.fingerprint for it in entries))


def _stages(deployment: Deployment, secret: str) -> Mapping[str, frozenset[str]]:
    """The labels of its versions now: a listing may be minutes late. None where it is gone."""
    try:
        return deployment.services.versions.describe(secret).stages
    except ClientError as error:
        if out_of_reach(error) is None:
            raise
        return {}


def _is_put_by_hand(secret: str, stages: Mapping[str, frozenset[str]], filed: Collection[tuple[str, str]]) -> bool:
    """Whether no certificate is filed for its version at AWSCURRENT, so that any that was issued may be in it."""
    return any(AWSCURRENT in labels and (secret, version) not in filed for version, labels in stages.items())


def at_hand(seen: Observation) -> dict[str, x509.Certificate]:
    """By fingerprint, every CA certificate that the bucket holds and that a sync looks at."""
    said = {it.fingerprint: it.certificate for it in seen.distrusted if it.certificate}
    return {**said, **bundles.by_fingerprint(it.content for it in seen.static), **seen.managed, **seen.deployed}


def _is_wanted(key: str, seen: Observation) -> bool:
    """Whether something holds it, so that it would be trusted."""
    uploaded = bundles.by_fingerprint(it.content for it in seen.static)
    return key in uploaded or any(it.anchor == key for it in seen.issued)


def named(text: str, among: Mapping[str, x509.Certificate | None]) -> str:
    """The one fingerprint that an operator names, as tools print it: by its first digits, with colons, in capitals.

    Args:
        text: what the operator wrote.
        among: by fingerprint, what it may be.

    Raises:
        InvalidInputError: it is no fingerprint, too short, nothing's, or that of several.
    """
    digits = re.sub(r"[:\s…]", "", text).lower()
    found = sorted(it for it in among if it.startswith(digits))
    if not re.fullmatch(r"[0-9a-f]{8,64}", digits):
        problem = f"{text[:100]!r}, which is no SHA-256 fingerprint, nor {_FEWEST} or more of its first digits"
    elif len(found) == 1:
        return found[0]
    else:
        problem = f"{len(found)} that begin so" if found else f"none that is {digits}, or begins so"
    raise InvalidInputError(
        where="SHA256",
        found=problem,
        expected="the fingerprint of one of: " + (", ".join(f"{it[:16]}…" for it in sorted(among)[:_NAMED]) or "none"),
        remedy="Nothing was changed. `mtlsctl truststore show` lists what is trusted, and what is distrusted.",
    )


def consequences(outlook: Outlook) -> Iterator[str]:
    """What follows from distrusting, in words. Pure."""
    for key, certificate in sorted(outlook.gone.items()):
        yield f"{short_subject(certificate)} ({key[:16]}…) leaves with the next publish, without overlap."
    for it in outlook.refused[:_NAMED]:
        yield f"Refused: {it}."
    if len(outlook.refused) > _NAMED:
        yield f"Refused: {len(outlook.refused) - _NAMED} more certificates of the stack's secrets."
    if not outlook.refused:
        yield "No certificate of the stack's secrets is refused."
    for reasons in uploads(outlook):
        yield f"Refused: whoever else has a certificate by it, such as a partner's clients; it is {reasons}."


def uploads(outlook: Outlook) -> list[str]:
    """The bundles that hold what goes. Pure."""
    seen = outlook.preview.seen
    keys = sorted({it.key for it in seen.static if set(bundles.by_fingerprint([it.content])) & set(outlook.gone)})
    return [f"{Why.UPLOADED} {', '.join(keys)}"] if keys else []


def still_vouched_for(outlook: Outlook) -> list[Finding]:
    """CAs above what goes that stay, so that a server may accept it all the same. Pure."""
    stays = {key: it.certificate for key, it in outlook.preview.plan.anchors.items()}
    return [
        Finding(
            severity=Severity.ATTENTION,
            subject=f"anchor {key[:8]}… {short_subject(certificate)}",
            what=f"{short_subject(above)}, which has signed it, stays trusted: servers that take the CAs between from "
            "the client go on accepting what it signs",
            remedy=f"mtlsctl truststore distrust {named[:16]}",
        )
        for key, certificate in sorted(outlook.gone.items())
        for named, above in sorted(stays.items())
        if certificate.issuer == above.subject and signed_by(certificate, above)
    ]


def shut_out(lost: Iterable[RefusedCertificate]) -> list[Finding]:
    """The secrets whose certificate in use is refused. Pure."""
    return [
        Finding(
            severity=Severity.ATTENTION,
            subject=secret,
            what="its certificate at AWSCURRENT chains to what is distrusted, so it is refused",
            remedy=f"mtlsctl rotate {secret} --wait  # once its CA is another",
            runbook="The key of a CA was stolen",
        )
        for secret in dict.fromkeys(it.secret for it in lost if it.in_use)
    ]


def borrowed(outlook: Outlook) -> dict[str, tuple[str, ...]]:
    """What goes only because it shares its key with what is named, and what secrets have it: by fingerprint. Pure.

    Anybody can certify a public key, under any name, without having the private one. So a certificate by a stranger
    over the key of a CA of the stack's names that CA, though nobody lost its key. Where it is the stack's own key that
    is lost, its own certificate is there to be named.
    """
    seen = outlook.preview.seen
    secrets = {
        key: tuple(sorted({it.secret for it in seen.issued if it.anchor == key}))
        for key in {*outlook.gone, *outlook.named}
    }
    if any(secrets[key] for key in outlook.named):
        return {}
    return {key: secrets[key] for key in outlook.gone if key not in outlook.named and secrets[key]}


def put(deployment: Deployment, entries: Iterable[DistrustEntry]) -> list[str]:
    """Write what distrusts these, and have the truststore follow. The keys that were not there before."""
    bucket, written = deployment.services.bucket, []
    for it in entries:
        body = to_pem(it.certificate).encode() if it.certificate else b""
        try:
            bucket.replace(it.key, body, None)
        except SupersededError:
            continue  # it is distrusted already
        written.append(it.key)
    ask_for_sync(deployment)
    return written


def ask_for_sync(deployment: Deployment) -> None:
    """Have it published now: S3's own event may be late, or lost."""
    deployment.services.bus.put(TRUSTSTORE_SYNC_REQUESTED, {"stack": deployment.name})


def await_running(
    context: CommandContext, what: str, settled: Callable[[Collection[str]], bool], seconds: float
) -> None:
    """Wait until what is published, and what every domain runs, is as it should be.

    Args:
        context: the deployment, and where to tell how it is getting on.
        what: that which is waited for, in words.
        settled: whether a set of anchors, by fingerprint, is as it should be.
        seconds: for how long.

    Raises:
        StillUnderWayError: it was not so in time.
    """
    deployment, told = context.deployment, ""

    def what_is_left() -> str:
        nonlocal told
        stored = deployment.services.bucket.read(layout.TRUSTSTORE)
        published = bundles.fingerprints(stored.body) if stored else frozenset()
        left = "it is not published yet" if not settled(published) else remaining(targets_of(deployment), settled)
        if left and left != told:
            context.tell(f"… {left}", "dim")
        told = left
        return left

    with context.doing("waiting"):
        await_end(
            context,
            what_is_left,
            seconds,
            where=f"truststore of stack {deployment.name}",
            expected=what,
            remedy="`mtlsctl truststore show` shows how far it is; if it stands still, see the log of truststore_sync.",
        )


def remaining(targets: Sequence[Target], settled: Callable[[Collection[str]], bool]) -> str:
    """Which domain does not run it yet, in words; empty if all do. Pure."""
    for it in (it for it in targets if it.exists):
        if it.anchors is None:
            return f"{it.name} {it.problem}"
        if not settled(it.anchors):
            return f"{it.name} does not run it yet"
        if not it.settled:
            return f"{it.name} is {it.condition}"
    return ""
