"""`mtlsctl truststore rebuild`: files everything anew from the secrets, where the bucket was emptied or edited."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, override

import typer
from rich.text import Text

from mtls_rotation.contract import layout
from mtls_rotation.contract.events import TRUSTSTORE_SYNC_REQUESTED
from mtls_rotation.contract.labels import AWSCURRENT, AWSPREVIOUS, end_of_issuing
from mtls_rotation.rotation.rebuild import Rebuild
from mtls_rotation.timing import utc_now
from mtlsctl.findings import attention
from mtlsctl.findings.survey import emptied as emptied_finding
from mtlsctl.frame.asking import confirm
from mtlsctl.frame.command import CommandContext
from mtlsctl.report import Finding, Model, Report, worst
from mtlsctl.show import label_in_words, line, shown
from mtlsctl.stack.deletions import UPLOADS, deletions, emptied
from mtlsctl.stack.versions import bring_back, read_filed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import RenderableType

    from mtls_rotation.aws.services import Services
    from mtls_rotation.rotation.rebuild import FiledVersion
    from mtlsctl.exit_status import ExitStatus

_HEADING = "The bucket was emptied or edited"


class VersionLine(Model):
    """A version of which something was missing in the bucket, or another's.

    Attributes:
        labels: its staging labels.
        objects: the keys that were written.
    """

    secret: str
    version_id: str
    labels: list[str]
    objects: list[str]


class RebuildReport(Report):
    """What was filed anew.

    Attributes:
        versions: how many were looked at.
        written: those of which something was missing, or another's.
        anchors: the fingerprints of the CA certificates among what was written.
        uploads: by prefix, how many objects lie there that no secret holds: those cannot be made anew.
        deletions_known: whether the bucket could be asked what was deleted.
    """

    versions: int
    written: list[VersionLine]
    anchors: list[str]
    uploads: dict[str, int]
    deletions_known: bool
    findings: list[Finding]

    @property
    @override
    def exit_status(self) -> ExitStatus:
        return worst(self.findings)

    @override
    def render(self) -> Iterable[RenderableType]:
        for it in self.written:
            labels = ", ".join(map(label_in_words, it.labels))
            yield line((f"{it.secret} {it.version_id} {labels}: {_counted(len(it.objects))}", ""))
        done = f"{_counted(_distinct(it.objects for it in self.written))} filed anew, of {self.versions} versions."
        yield from shown(self.findings, done)
        if self.findings:
            yield Text(done, style="bold")
        yield Text(_uploads_text(self.uploads, known=self.deletions_known), style="dim" * self.deletions_known)


def rebuild(
    context: CommandContext,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing.", show_default=False)] = False,
) -> RebuildReport:
    """File everything anew from the secrets, where the bucket was emptied or edited.

    That is what each version chains to, and the CAs; then a sync is asked for. What is there and right stays. It reads
    the secrets' values, to take the public certificates out of them, and shows first what is missing.

    Exit status: 0 everything is filed, 1 something cannot be, 2 it could not be done.
    """
    services = context.deployment.services
    files = Rebuild(services)
    with context.doing("looking"):
        found = list(files.run(write=False))
        uploads = {prefix: sum(not it.key.endswith("/") for it in services.bucket.list(prefix)) for prefix in UPLOADS}
        gone = deletions(context.deployment.session.client("s3"), services.bucket.name)
    lost = [emptied_finding(it, services.bucket.name) for it in emptied(gone or (), utc_now())]
    for finding in lost:
        context.tell(f"· Bring back first: {finding.subject}")
    if gone is None:
        context.progress.print(Text(_uploads_text(uploads, known=False)))
    missing = [it for it in found if it.written]
    if missing:
        for it in missing:
            context.tell(f"{it.secret} {it.version_id}: {', '.join(it.written)}")
        authorities = len(_anchors(missing))
        question = (
            f"{_counted(_distinct(it.written for it in missing))} missing or another's. File them anew, and have"
            f" {authorities} CA{'' if authorities == 1 else 's'} among them trusted? Go on?"
        )
        confirm(context, question, yes=yes)
        with context.doing("filing"):
            found = list(files.run())
        services.bus.put(TRUSTSTORE_SYNC_REQUESTED, {"stack": context.deployment.name})
    written = [it for it in found if it.written]
    return RebuildReport(
        versions=len(found),
        written=[
            VersionLine(
                secret=it.secret, version_id=it.version_id, labels=sorted(it.labels), objects=sorted(it.written)
            )
            for it in written
        ],
        anchors=_anchors(written),
        uploads=uploads,
        deletions_known=gone is not None,
        findings=[*lost, *_problems(found, services)],
    )


def _uploads_text(uploads: Mapping[str, int], *, known: bool) -> str:
    """What no secret holds. Where nobody may ask what was deleted, that somebody has to look."""
    *most, last = uploads
    where, numbers = f"{', '.join(most)} and {last}", ", ".join(map(str, uploads.values()))
    first = f"What lies under {where}" if known else f"First bring back what lay under {where}"
    return f"{first}: no secret holds it. Of these there are {numbers} objects now."


def _problems(found: Sequence[FiledVersion], services: Services) -> Iterable[Finding]:
    """What could not be filed. A version at AWSPENDING without a value is no problem: its rotation files it."""
    for it in found:
        stages = {other.version_id: other.labels for other in found if other.secret == it.secret}
        back = ""
        if it.unusable and AWSCURRENT in it.labels:
            back = bring_back(it.secret, stages, read_filed(services.bucket, it.secret, services.clock()))
        counts = it.labels & {AWSCURRENT, AWSPREVIOUS} or any(map(end_of_issuing, it.labels))
        if it.problem and counts:
            labels = ", ".join(map(label_in_words, sorted(it.labels)))
            yield attention(
                it.secret,
                f"version {it.version_id} ({labels}) cannot be filed whole: {it.problem}",
                back or f"mtlsctl rotate {it.secret} --wait",
                "MTLS-101" if it.unusable else _HEADING,
            )


def _anchors(written: Sequence[FiledVersion]) -> list[str]:
    keys = Counter(name for it in written for key in it.written if (name := layout.managed_anchor(key)))
    return sorted(keys)


def _distinct(keys: Iterable[Iterable[str]]) -> int:
    """How many objects: several versions may have one anchor."""
    return len({key for of_version in keys for key in of_version})


def _counted(number: int) -> str:
    return f"{number} object{'' if number == 1 else 's'}"
