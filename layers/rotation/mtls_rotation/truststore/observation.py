"""What a sync has seen: everything that its decisions take into account. Calls nothing."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509

from mtls_rotation.aws.certificate_index import FiledCertificate
from mtls_rotation.pki.bundles import Unreadable


@dataclass(frozen=True, slots=True)
class StaticEntry:
    """One certificate, or one unreadable block, of a bundle under `anchors/static/`.

    Attributes:
        position: which block of the bundle, counted from 1; 1 where the bundle has none.
    """

    key: str
    content: x509.Certificate | Unreadable
    position: int = 1


@dataclass(frozen=True, slots=True)
class DistrustEntry:
    """One object under `anchors/distrusted/`, which `distrust.read` has read.

    Attributes:
        fingerprint: of the certificate that it takes out; empty where its name is none.
        certificate: that certificate; None where the object does not hold it.
        problem: why it takes nothing out; empty if it does.
    """

    key: str
    fingerprint: str = ""
    certificate: x509.Certificate | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class HeldCertificate:
    """A certificate that a client may hold, of a CA that has a namesake.

    Attributes:
        anchors: the fingerprints of the CAs that it chains to.
        certificate: None where it was not read.
    """

    secret: str
    version_id: str
    anchors: frozenset[str]
    certificate: x509.Certificate | None


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that the decision takes into account.

    Attributes:
        live: (secret name, version id) of every version that a client may hold, or that will be held next.
        issuing: likewise, of every version that a CA issues from or is about to. A CA at AWSPREVIOUS does not: it stays
            for the certificates that chain to it, and no longer.
        in_place: those of `live` and `issuing` that are past their rotation, so that they hold a value for certain.
        unclear: the names of secrets that exist and of whose versions nothing is said.
        settled: of the versions of which no certificate is filed under an anchor, those that need none for certain: it
            is filed as none of the gateway's, or noted that the version holds none.
        untagged: the names of secrets that are ours by what is filed for them, and have lost the stack's tag.
        distrusted: what an operator takes out, whatever else is so.
        managed: the anchors in the bucket, by fingerprint; at least those that `needed` names.
        filed: the fingerprints of the anchors that the bucket holds as rotation's own, read or not.
        deployed: the anchors of what is published or run by targets now, by fingerprint: of one edition, or of all.
        in_force: those of one edition, by each truststore that targets are known to run, or were to run by a decision
            of ours; none where that is not known.
        out_of_sight: those deployed that may be uploaded still: there is more than is listed, and no note of them.
        held: what clients may hold, as far as `held.HeldReader` looks at it.
        unreadable: the targets that run nobody knows what.
        ours: whether what is published is what the sync published last.
        unused_since: for each anchor on its way out, since when it has been unused.
    """

    now: datetime
    live: frozenset[tuple[str, str]]
    issuing: frozenset[tuple[str, str]]
    issued: tuple[FiledCertificate, ...]
    managed: Mapping[str, x509.Certificate] = field(default_factory=dict)
    static: tuple[StaticEntry, ...] = ()
    filed: frozenset[str] = frozenset()
    deployed: Mapping[str, x509.Certificate] = field(default_factory=dict)
    in_force: tuple[frozenset[str], ...] = ()
    unused_since: Mapping[str, datetime] = field(default_factory=dict)
    in_place: frozenset[tuple[str, str]] = frozenset()
    unclear: frozenset[str] = frozenset()
    distrusted: tuple[DistrustEntry, ...] = ()
    unreadable: tuple[str, ...] = ()
    ours: bool = True
    held: tuple[HeldCertificate, ...] = ()
    out_of_sight: frozenset[str] = frozenset()
    settled: frozenset[tuple[str, str]] = frozenset()
    untagged: tuple[str, ...] = ()

    @property
    def truststores(self) -> tuple[frozenset[str], ...]:
        """The truststores by which clients are accepted now, as far as is known: else all that is deployed counts.

        What somebody wrote into the published object by hand lets nobody in until a target runs it.
        """
        return self.in_force or (frozenset(self.deployed),)

    @property
    def letting_in(self) -> frozenset[str]:
        """The anchors in any of them."""
        return frozenset[str]().union(*self.truststores)

    @property
    def unfiled(self) -> frozenset[tuple[str, str]]:
        """The versions that clients hold, or that a CA issues from, and of which nobody knows what they chain to.

        An operator edited the secret by hand, or what was filed is lost. What is at AWSPENDING alone is none of them:
        it is filed, or filed again, by createSecret of the very walk that makes it AWSCURRENT, which takes less than
        the shortest overlap. Secrets Manager tries the entire rotation again, not a step:
        https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html
        """
        anchors = defaultdict(set)
        for entry in self.issued:
            anchors[entry.secret, entry.version_id, entry.of].add(entry.anchor)
        filed = {(secret, version) for (secret, version, of), under in anchors.items() if len(under) >= of}
        return ((self.live | self.issuing) & self.in_place).difference(filed, self.settled)

    @property
    def doubtful(self) -> tuple[str, ...]:
        """The secrets of which a client may hold what nobody knows of: while there are any, nothing is taken out."""
        return tuple(sorted(self.unclear | {secret for secret, _ in self.unfiled}))


@dataclass(frozen=True, slots=True)
class Unclear:
    """The secrets of which it cannot be told, without reading them, which of their certificates is in use.

    An operator edited the secret by hand: its new version carries a certificate over, and none is filed for it. Or
    nothing is said of its versions. Whatever was issued for such a secret counts.
    """

    clients: frozenset[str]
    authorities: frozenset[str]

    @classmethod
    def among(cls, seen: Observation) -> "Unclear":
        """Those of an observation."""
        unfiled = seen.unfiled
        return cls(
            clients=seen.unclear | {secret for secret, _ in seen.live & unfiled},
            authorities=seen.unclear | {secret for secret, _ in seen.issuing & unfiled},
        )
