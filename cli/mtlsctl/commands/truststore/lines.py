"""A truststore's certificates as lines of a report, and what all these commands say of guards."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rich.text import Text

from mtls_rotation.pki.certificates import short_subject
from mtlsctl.report import Model
from mtlsctl.show import Column, FittingTable, days, distinguished_name, line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cryptography import x509
    from rich.console import RenderableType

    from mtls_rotation.truststore.guards import Stop
    from mtls_rotation.truststore.plan import Plan

# Days left from which on an anchor's end is shown in red.
_SOON = 7


class AnchorLine(Model):
    """A certificate in a truststore.

    Attributes:
        days_left: until `not_after`, with a fraction; negative after it.
        reasons: why it belongs there; where it does not, why not.
        goes: whether the next sync takes it out.
    """

    fingerprint_sha256: str
    subject: str
    not_after: datetime
    days_left: float
    reasons: list[str]
    goes: bool

    @property
    def why(self) -> str:
        """All of that in one line."""
        reasons = "; ".join(self.reasons)
        return f"it goes: {reasons}" if self.goes else reasons


class StopLine(Model):
    """A guard that keeps a truststore from being published.

    Attributes:
        may_be_forced: whether `truststore sync --force` overrides it.
    """

    guard: str
    found: str
    remedy: str
    may_be_forced: bool

    @classmethod
    def of(cls, stop: Stop | None) -> StopLine | None:
        """The one for a guard's stop."""
        if stop is None:
            return None
        return cls(guard=stop.guard.value, found=stop.found, remedy=stop.remedy, may_be_forced=stop.guard.may_be_forced)

    def render(self) -> Iterable[RenderableType]:
        """What a person is shown."""
        yield Text(f"✗ The guard {self.guard} stops it: {self.found}.", style="bold red")
        yield line((f"  {self.remedy}", ""))
        if self.may_be_forced:
            yield line(("  mtlsctl truststore sync --force", "dim"))


def anchor_lines(certificates: Mapping[str, x509.Certificate], plan: Plan, now: datetime) -> list[AnchorLine]:
    """The certificates of a truststore, each with what the plan says of it, in the order of their fingerprints."""
    return [_line(key, certificates[key], plan, now) for key in sorted(certificates)]


def _line(key: str, certificate: x509.Certificate, plan: Plan, now: datetime) -> AnchorLine:
    planned = plan.anchors.get(key)
    why_not = [it.reason for it in plan.left_out if it.fingerprint == key]
    return AnchorLine(
        fingerprint_sha256=key,
        subject=short_subject(certificate),
        not_after=certificate.not_valid_after_utc,
        days_left=round((certificate.not_valid_after_utc - now) / timedelta(days=1), 2),
        reasons=list(map(str, planned.reasons)) if planned else why_not or ["nothing holds it any more"],
        goes=planned is None,
    )


def anchors_table(anchors: Iterable[AnchorLine]) -> FittingTable:
    """Those as a table."""
    table = FittingTable(Column("anchor"), Column("subject"), Column("why", whole=False), Column("days\nleft"))
    for it in anchors:
        left = days(it.days_left, warn=it.days_left < _SOON)
        table.add_row(f"{it.fingerprint_sha256[:8]}…", distinguished_name(it.subject), it.why, left)
    return table


def changed_lines(added: Iterable[AnchorLine], removed: Iterable[AnchorLine]) -> Iterable[Text]:
    """What is added and what is removed, as a diff shows it."""
    for sign, style, lines in (("-", "red", removed), ("+", "green", added)):
        for it in lines:
            yield line((f"{sign} {it.fingerprint_sha256[:8]}… {it.subject} ({it.why})", style))


def edited_line(version: str | None) -> Text:
    """What is said of a published object that is not the sync's."""
    what = f"{short(version)} is not what the sync published" if version else "what was published is gone"
    return Text(f"✗ {what}: it is written anew by `mtlsctl truststore sync --wait`.", style="bold red")


def short(version: str | None) -> str:
    """A version's id as it is shown."""
    return f"version {version[:8]}" if version else "no version"
