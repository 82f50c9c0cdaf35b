"""How long certificates, CAs and anchors have left, from what a sync saw. Pure.

What counts is what is in use: of a client secret the certificate at AWSCURRENT, which is what its clients hold; of a CA
secret likewise; of the truststore every anchor that is needed from now on. An anchor to which only a certificate at
AWSPREVIOUS chains ends when it is over, as it should.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mtls_rotation.aws.certificate_index import FiledCertificate
from mtls_rotation.truststore.observation import Observation
from mtls_rotation.truststore.plan import Anchor, Why

_DAY = timedelta(days=1)
# Reasons for an anchor that tell by themselves that it is needed from now on.
_LASTING = {Why.UPLOADED, Why.ISSUES, Why.UNCLEAR}


@dataclass(frozen=True, slots=True)
class Remaining:
    """What one certificate has left.

    Attributes:
        name: the secret that holds it, or an anchor's fingerprint.
        days: until its end; negative once it is over.
    """

    name: str
    days: float


@dataclass(frozen=True, slots=True)
class Expiry:
    """What each kind has left, those that end soonest first.

    Attributes:
        unknown: the secrets whose certificate an earlier release filed, without its end.
    """

    clients: tuple[Remaining, ...] = ()
    authorities: tuple[Remaining, ...] = ()
    anchors: tuple[Remaining, ...] = ()
    unknown: tuple[str, ...] = ()

    def soonest_secrets(self, most: int) -> tuple[Remaining, ...]:
        """The secrets, of clients and of CAs, that end first; no more than `most`."""
        return _sorted((*self.clients, *self.authorities))[:most]


def measure(
    seen: Observation,
    anchors: Mapping[str, Anchor],
    current: Mapping[str, str],
    outside: Iterable[FiledCertificate] = (),
) -> Expiry:
    """Measure what is in use.

    Args:
        seen: what the sync saw.
        anchors: by fingerprint, those of every edition.
        current: by name of a secret, the version at AWSCURRENT.
        outside: the certificates that no gateway of ours is to trust; their clients need them all the same.
    """
    filed: dict[str, list[FiledCertificate]] = defaultdict(list)
    for entry in (*seen.issued, *outside):
        filed[entry.secret].append(entry)
    pending = seen.live - seen.in_place
    clients: list[Remaining] = []
    authorities: list[Remaining] = []
    unknown: list[str] = []
    needed: set[str] = set()
    for secret, version in current.items():
        entries = _of_version(filed.get(secret, ()), version, pending)
        needed |= {entry.anchor for entry in entries}
        ends = [entry.not_after for entry in entries if entry.not_after]
        if ends:
            remaining = Remaining(secret, _days(ends[0], seen.now))
            (authorities if entries[0].authority else clients).append(remaining)
        elif entries:
            unknown.append(secret)
    lasting = (
        Remaining(key, _days(anchor.certificate.not_valid_after_utc, seen.now))
        for key, anchor in anchors.items()
        if lasts(anchor) or key in needed
    )
    return Expiry(_sorted(clients), _sorted(authorities), _sorted(lasting), tuple(sorted(unknown)))


def _of_version(
    entries: Sequence[FiledCertificate], version: str, pending: frozenset[tuple[str, str]]
) -> list[FiledCertificate]:
    """What is filed for a version. One that was made by hand has none: it carries the newest certificate over."""
    found = [entry for entry in entries if entry.version_id == version]
    if found:
        return found
    carried = [entry for entry in entries if (entry.secret, entry.version_id) not in pending]
    newest = max(carried, key=lambda entry: entry.at, default=None)
    return [entry for entry in carried if newest and entry.version_id == newest.version_id]


def lasts(anchor: Anchor) -> bool:
    """Whether its reasons alone say that it is needed from now on; else a certificate at AWSCURRENT has to."""
    return any(reason.why in _LASTING for reason in anchor.reasons)


def _days(end: datetime, now: datetime) -> float:
    return round((end - now) / _DAY, 3)


def _sorted(found: Iterable[Remaining]) -> tuple[Remaining, ...]:
    return tuple(sorted(found, key=lambda it: (it.days, it.name)))
