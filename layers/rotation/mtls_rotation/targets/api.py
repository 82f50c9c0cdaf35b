"""What runs a truststore, whatever it is: the protocol of a target, and the values that pass between it and the sync.

Pure. `limits` has the rules of each kind, `registry` the targets of a stack, a module each kind of target.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from cryptography import x509

from mtls_rotation.pki.namesakes import ByIdentifier, authority_key_identifier, key_identifier
from mtls_rotation.pki.signatures import signed_by

type Rule = Callable[[x509.Certificate, datetime], str | None]


@dataclass(frozen=True, slots=True)
class Edition:
    """A published truststore. Targets with equal `Limits` share one.

    Attributes:
        key: the object's key in the bucket.
        uri: the object, as targets name it.
        version_id: which version of it.
        anchors: the SHA-256 fingerprints of the certificates in `body`.
    """

    key: str
    uri: str
    version_id: str
    body: bytes
    anchors: frozenset[str]

    @property
    def digest(self) -> str:
        """What it trusts, in short."""
        return digest_of(self.anchors)


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """A target names the object that it has read, and its version.

    Without a version it has read the one that was the latest when it was last updated: which, it does not say.
    """

    uri: str
    version_id: str | None


@dataclass(frozen=True, slots=True)
class Anchors:
    """A target hands back the certificates that it trusts: their SHA-256 fingerprints."""

    fingerprints: frozenset[str]


@dataclass(frozen=True, slots=True)
class Revision:
    """A target names its state by a token of its own, which says nothing of what it trusts."""

    token: str


# By what a target shows which truststore it runs.
type Evidence = ObjectVersion | Anchors | Revision


@dataclass(frozen=True, slots=True)
class Running:
    """What a target runs.

    Attributes:
        settled: whether this is what requests are checked against. If not, they may be checked against what it ran
            before.
        updating: whether an update is under way, during which it takes no other.
        status: how the target itself says that.
        message: what it says besides.
        warnings: what the target says is wrong with certificates in it.
    """

    evidence: Evidence
    settled: bool = True
    updating: bool = False
    status: str = ""
    message: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def stuck(self) -> bool:
        """Whether it does not come to run this by itself: an update has failed, or waits for somebody."""
        return not self.settled and not self.updating

    @property
    def condition(self) -> str:
        """Its status with what it says besides, for operators to read."""
        return f"{self.status}: {self.message}" if self.message else self.status


@dataclass(frozen=True, slots=True)
class Receipt:
    """Which edition a target was told to run last, and when.

    Attributes:
        uri: and `version_id`, `digest`: the edition's.
        lane: the key of the target's lane.
        revision: the token that the target answered with; empty where it answers with none.
        confirmed: False until it is known that it was told: a run that was killed meanwhile may have told it or not.
    """

    uri: str
    version_id: str
    digest: str
    lane: str
    at: datetime
    revision: str = ""
    confirmed: bool = True


@dataclass(frozen=True, slots=True)
class Limits:
    """What a kind of target takes.

    Attributes:
        name: the kind, as operators know it.
        key: under which key of the bucket the edition for these limits is published.
        rules: why it takes a certificate as an anchor, or does not, each a check by itself.
        capacity: how many certificates.
        chain: how many CAs a client's chain may have.
        quota: what operators have raised for more certificates.
        size: how many bytes; None where nothing is said of that.
    """

    name: str
    key: str
    rules: tuple[Rule, ...]
    capacity: int
    chain: int
    quota: str
    size: int | None = None

    def refusal(self, certificate: x509.Certificate, now: datetime) -> str | None:
        """Why it would not take this certificate as an anchor at `now`, or None if it would."""
        return next((reason for rule in self.rules if (reason := rule(certificate, now))), None)

    def over_long_chains(self, certificates: Iterable[x509.Certificate]) -> Mapping[x509.Certificate, str]:
        """Which of these are too far below their root for any client of theirs to be accepted, and why.

        A certificate's chain is the shortest that signatures lead along, upwards among `certificates`.
        """
        return {
            it: f"its chain has {levels} CAs, where {self.name} takes {self.chain} at most"
            for it, levels in _levels(certificates).items()
            if levels > self.chain
        }


@dataclass(frozen=True, slots=True)
class Lane:
    """Targets whose updates count towards one rate.

    Attributes:
        key: the kind, and where it tells them apart the account and the region.
        interval: how long to leave between two updates.
        effect_within: how long after an update was begun it may still take effect; after that it never does.
    """

    key: str
    interval: timedelta
    effect_within: timedelta


class Target(Protocol):
    """Something that checks client certificates against the truststore."""

    @property
    def name(self) -> str:
        """By which operators know it. No other target has it."""

    @property
    def limits(self) -> Limits:
        """What it takes."""

    @property
    def lane(self) -> Lane:
        """With which others it shares a rate."""

    def running(self) -> Running | None:
        """What it runs now; None if there is no such target (yet).

        Raises:
            UnusableDomainError: it checks no client certificates.
        """

    def run(self, edition: Edition, replacing: Running) -> Revision | None:
        """Have it run this edition, even where it shows that already. It takes effect when it has settled again.

        Returns:
            What it will show once it does, if it shows a revision.

        Raises:
            DomainBusyError: it takes no update now.
            DomainNotAvailableError: it takes none before somebody has mended it.
        """


def digest_of(anchors: Iterable[str]) -> str:
    """The SHA-256 of these fingerprints, whatever their order."""
    return hashlib.sha256("\n".join(sorted(anchors)).encode()).hexdigest()


def runs(running: Running, edition: Edition, receipt: Receipt | None) -> bool:
    """Whether a target runs, or is about to run, this edition.

    Args:
        running: what it shows.
        edition: what it should run.
        receipt: what it was told last; None if it was never told, or that is not known.
    """
    match running.evidence:
        case ObjectVersion(uri, version_id):
            return (uri, version_id) == (edition.uri, edition.version_id)
        case Anchors(fingerprints):
            return fingerprints == edition.anchors
        case Revision() as revision:
            known = _receipt_for(revision, receipt)
            return known is not None and known.digest == edition.digest


def drifted(running: Running, edition: Edition, receipt: Receipt | None) -> bool:
    """Whether a target that does not run this edition runs what the sync has never told it. Arguments as for `runs`."""
    told = receipt if receipt and receipt.confirmed else None
    match running.evidence:
        case ObjectVersion(uri, version_id):
            return uri != edition.uri or (told is not None and version_id != told.version_id)
        case Anchors(fingerprints):
            return told is not None and digest_of(fingerprints) != told.digest
        case Revision() as revision:
            return told is not None and _receipt_for(revision, told) is None


def anchors_of(
    running: Running, receipt: Receipt | None, catalogue: Callable[[ObjectVersion], frozenset[str] | None]
) -> frozenset[str] | None:
    """Which anchors a target runs, by fingerprint; None where that cannot be told.

    Args:
        running: what it shows.
        receipt: what it was told last: a revision is known only where the receipt has the same.
        catalogue: the anchors in a version of an object; None if it is none of the stack's, or gone.
    """
    match running.evidence:
        case ObjectVersion(_, None):
            return None
        case ObjectVersion() as version:
            return catalogue(version)
        case Anchors(fingerprints):
            return fingerprints
        case Revision() as revision:
            known = _receipt_for(revision, receipt)
            return catalogue(ObjectVersion(known.uri, known.version_id)) if known else None


def _receipt_for(revision: Revision, receipt: Receipt | None) -> Receipt | None:
    """The receipt, if the target answered it with this revision."""
    return receipt if receipt and receipt.revision == revision.token else None


# So many of the certificates that have an issuer's name and key identifier are tried as the one that has signed: more
# would cost an uploader nothing, and every sync a verification each.
_TRIED = 2


def _levels(certificates: Iterable[x509.Certificate]) -> dict[x509.Certificate, int]:
    """How many CAs the chain of each has, itself among them."""
    by_subject: dict[x509.Name, ByIdentifier[list[x509.Certificate]]] = defaultdict(lambda: ByIdentifier(list))
    pool = list(dict.fromkeys(certificates))
    for certificate in pool:
        for alike in by_subject[certificate.subject].to_add_to(key_identifier(certificate)):
            alike.append(certificate)
    below = defaultdict(list)
    levels = {}
    for it in pool:
        named = by_subject.get(it.issuer) if it.issuer != it.subject else None
        fit = named.not_contradicting(authority_key_identifier(it)) if named else ()
        tried = itertools.islice(itertools.chain.from_iterable(fit), _TRIED)
        issuers = [ca for ca in tried if signed_by(it, ca)]
        for issuer in issuers:
            below[issuer].append(it)
        if not issuers:
            levels[it] = 1
    # Breadth first, downwards: from those with nothing above them, each level one further from its root.
    level = list(levels)
    while level:
        found = dict.fromkeys(it for above in level for it in below[above] if it not in levels)
        levels |= dict.fromkeys(found, levels[level[0]] + 1)
        level = list(found)
    return levels
