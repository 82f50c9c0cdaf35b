"""The decision: which anchors belong in the truststore, and which do not, each with the reason. Pure; no I/O.

An anchor belongs while a live version of a managed secret hangs on it, or while an operator's bundle holds it. What
`ListSecrets` says may be five minutes old, so three things guard against removing too early: whatever was issued
within `Settings.recent` is live whatever the listing says; versions that events name are counted as live; and an anchor
that has become unused stays for `Settings.overlap` more. docs/truststore.md explains every reason to an operator.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography import x509

from mtls_rotation.aws.certificate_index import FiledCertificate
from mtls_rotation.contract.layout import managed_anchor_key
from mtls_rotation.pki.bundles import Unreadable
from mtls_rotation.pki.certificates import fingerprint, short_subject
from mtls_rotation.targets.limits import over_long_chains, refusal


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator may choose.

    Attributes:
        overlap: how long an anchor stays after it was first seen unused.
        recent: how long an issued certificate counts as live whatever the listing says.
        most_removed: the largest share of the deployed anchors that one publish may drop.
        most_anchors: how many certificates the truststore may hold: API Gateway's quota.
        index_kept: how long the bucket remembers a certificate at least that no label names any more.
    """

    overlap: timedelta = timedelta(hours=1)
    recent: timedelta = timedelta(hours=1)
    most_removed: float = 0.5
    most_anchors: int = 1000
    index_kept: timedelta = timedelta(days=30)


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
class Observation:
    """Everything that the decision takes into account.

    Attributes:
        live: (secret name, version id) of every version that a client may hold, or that will be held next.
        issuing: likewise, of every version that a CA issues from or is about to. A CA at AWSPREVIOUS does not: it stays
            for the certificates that hang on it, and no longer.
        in_place: those of `live` and `issuing` that are past their rotation, so that they hold a value for certain.
        unclear: the names of secrets that exist and of whose versions nothing is said.
        managed: the anchors in the bucket, by fingerprint; at least those that `needed` names.
        deployed: the anchors of the truststore that is published now, by fingerprint.
        unused_since: for each anchor on its way out, since when it has been unused.
    """

    now: datetime
    live: frozenset[tuple[str, str]]
    issuing: frozenset[tuple[str, str]]
    issued: tuple[FiledCertificate, ...]
    managed: Mapping[str, x509.Certificate] = field(default_factory=dict)
    static: tuple[StaticEntry, ...] = ()
    deployed: Mapping[str, x509.Certificate] = field(default_factory=dict)
    unused_since: Mapping[str, datetime] = field(default_factory=dict)
    in_place: frozenset[tuple[str, str]] = frozenset()
    unclear: frozenset[str] = frozenset()


class Why(StrEnum):
    """Why an anchor is in the truststore."""

    UPLOADED = "uploaded in"
    IN_USE = "in use by"
    ISSUES = "issues for"
    UNCLEAR = "may be in use by"
    LATELY = "issued from lately for"
    RETIRING = "unused since"


# How many names a reason is written out with.
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for an anchor, with what stands behind it.

    Attributes:
        names: keys of bundles (UPLOADED), a moment (RETIRING), or names of secrets; sorted, each once.
    """

    why: Why
    names: tuple[str, ...]

    def __str__(self) -> str:
        shown = ", ".join(self.names[:_SHOWN])
        more = len(self.names) - _SHOWN
        return f"{self.why} {shown}" + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, slots=True)
class Anchor:
    """A certificate that belongs in the truststore, and why."""

    certificate: x509.Certificate
    reasons: tuple[Reason, ...]

    @property
    def retiring(self) -> bool:
        """Whether nothing holds it any more but the overlap."""
        return all(reason.why is Why.RETIRING for reason in self.reasons)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A certificate that does not belong in the truststore, and why.

    Attributes:
        key: the object that holds it, or would.
        position: which certificate of that object, counted from 1.
        fingerprint: empty where it is no certificate.
        rejected: True where somebody meant it to be trusted, and should know that it is not.
    """

    key: str
    position: int
    subject: str
    fingerprint: str
    reason: str
    rejected: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What the truststore should be."""

    anchors: Mapping[str, Anchor]
    left_out: tuple[LeftOut, ...]
    added: frozenset[str]
    removed: frozenset[str]
    unused_since: Mapping[str, datetime]


def decide(seen: Observation, settings: Settings) -> Plan:
    """Decide what the truststore should hold. Whether it is safe to publish is for `guards` to say."""
    anchors, left_out = _uploaded(seen)
    used = _used(seen, settings)
    for key, reasons in used.items():
        certificate = seen.managed.get(key) or seen.deployed.get(key)
        if certificate is None:
            lost = "certificates hang on it, and it is not in the bucket"
            left_out.append(LeftOut(managed_anchor_key(key), 1, "unknown", key, lost, rejected=True))
        elif unfit := refusal(certificate, seen.now):
            left_out.append(_managed(key, certificate, unfit, rejected=True))
        else:
            known = anchors.get(key)
            anchors[key] = Anchor(certificate, (known.reasons if known else ()) + reasons)

    unused_since = {}
    for key, certificate in seen.deployed.items():
        if key in anchors or key in used:
            continue
        since = seen.unused_since.get(key, seen.now)
        if unfit := refusal(certificate, seen.now):
            left_out.append(_managed(key, certificate, unfit))
        elif seen.now - since < settings.overlap:
            unused_since[key] = since
            anchors[key] = _retiring(certificate, since)
        else:
            left_out.append(_managed(key, certificate, "nothing live hangs on it"))

    return Plan(
        anchors=dict(sorted(anchors.items())),
        left_out=tuple(dict.fromkeys(left_out)),
        added=frozenset(anchors) - frozenset(seen.deployed),
        removed=frozenset(seen.deployed) - frozenset(anchors),
        unused_since=unused_since,
    )


def without_removals(plan: Plan, seen: Observation) -> Plan:
    """The plan with what it takes away left in: what is deployed stays, and what is new comes beside it.

    What API Gateway would take no more goes all the same: nobody is accepted by it.
    """
    stays = {key: seen.deployed[key] for key in plan.removed if refusal(seen.deployed[key], seen.now) is None}
    since = {key: seen.unused_since.get(key, seen.now) for key in stays}
    anchors = {key: _retiring(certificate, since[key]) for key, certificate in stays.items()} | dict(plan.anchors)
    return Plan(
        anchors=dict(sorted(anchors.items())),
        left_out=tuple(it for it in plan.left_out if it.rejected or it.fingerprint not in stays),
        added=plan.added,
        removed=plan.removed - set(stays),
        unused_since={**plan.unused_since, **since},
    )


def needed(seen: Observation, settings: Settings) -> frozenset[str]:
    """The managed anchors whose certificates `decide` will ask for."""
    return frozenset(_used(seen, settings))


def hanging(seen: Observation) -> Mapping[str, frozenset[str]]:
    """The anchors that clients need now: for each, the secrets whose certificate at AWSCURRENT or AWSPREVIOUS does."""
    held = seen.live & seen.in_place
    unclear = _Unclear.among(seen).clients
    secrets = defaultdict(set)
    for entry in seen.issued:
        if not entry.authority and ((entry.secret, entry.version_id) in held or entry.secret in unclear):
            secrets[entry.anchor].add(entry.secret)
    return {anchor: frozenset(names) for anchor, names in secrets.items()}


def obsolete(seen: Observation, settings: Settings) -> tuple[FiledCertificate, ...]:
    """What the bucket need not remember any more: no label names it, and it is older than `Settings.index_kept`.

    A CA is remembered as long as a client certificate hangs on it: its CRL must go on.
    """
    unclear = _Unclear.among(seen)
    all_unclear = unclear.clients | unclear.authorities
    forgotten = [
        entry for entry in seen.issued if entry.secret not in all_unclear and _unlabelled(entry, seen, settings)
    ]
    remembered = {entry.anchor for entry in set(seen.issued).difference(forgotten) if not entry.authority}
    return tuple(entry for entry in forgotten if not entry.authority or entry.anchor not in remembered)


def obsolete_outside(
    outside: Iterable[FiledCertificate], seen: Observation, settings: Settings
) -> tuple[FiledCertificate, ...]:
    """As `obsolete`, of the certificates that no gateway of ours is to trust."""
    outside = tuple(outside)
    unclear = _Unclear.among(replace(seen, issued=(*seen.issued, *outside))).clients
    return tuple(it for it in outside if it.secret not in unclear and _unlabelled(it, seen, settings))


def obsolete_anchors(managed: Mapping[str, datetime], seen: Observation, settings: Settings) -> tuple[str, ...]:
    """The managed anchors that nothing hangs on any more which the bucket remembers, and that have left the truststore.

    Args:
        managed: by fingerprint, when each was written.
        seen: what else is there.
        settings: how long at least one is kept.
    """
    named = {entry.anchor for entry in seen.issued} | set(seen.deployed)
    return tuple(key for key, at in managed.items() if key not in named and seen.now - at >= settings.index_kept)


def _unlabelled(entry: FiledCertificate, seen: Observation, settings: Settings) -> bool:
    """Whether no label names a version any more, and for long."""
    version = (entry.secret, entry.version_id)
    return version not in seen.live and version not in seen.issuing and seen.now - entry.at >= settings.index_kept


def _uploaded(seen: Observation) -> tuple[dict[str, Anchor], list[LeftOut]]:
    """The anchors in operators' bundles, each certificate judged by itself, and then with its chain."""
    left_out: list[LeftOut] = []
    fit: list[tuple[StaticEntry, str, x509.Certificate]] = []
    for entry in seen.static:
        match entry.content:
            case Unreadable(reason):
                left_out.append(LeftOut(entry.key, entry.position, "unreadable", "", reason, rejected=True))
            case certificate if unfit := refusal(certificate, seen.now):
                left_out.append(_rejected(entry, certificate, unfit))
            case certificate:
                fit.append((entry, fingerprint(certificate), certificate))

    certificates = {key: certificate for _, key, certificate in fit}
    over_long = over_long_chains((certificates | dict(seen.deployed)).values())
    keys = defaultdict(set)
    for entry, key, certificate in fit:
        if too_long := over_long.get(certificate):
            left_out.append(_rejected(entry, certificate, too_long))
        else:
            keys[key].add(entry.key)
    return {
        key: Anchor(certificates[key], (Reason(Why.UPLOADED, tuple(sorted(bundles))),)) for key, bundles in keys.items()
    }, left_out


def _used(seen: Observation, settings: Settings) -> dict[str, tuple[Reason, ...]]:
    """The anchors that live certificates hang on, by fingerprint, each with the secrets whose certificates do."""
    unclear = _Unclear.among(seen)
    secrets: dict[str, dict[Why, set[str]]] = defaultdict(lambda: defaultdict(set))
    for entry in seen.issued:
        if (entry.secret, entry.version_id) in (seen.issuing if entry.authority else seen.live):
            why = Why.ISSUES if entry.authority else Why.IN_USE
        elif entry.secret in (unclear.authorities if entry.authority else unclear.clients):
            why = Why.UNCLEAR
        elif seen.now - entry.at < settings.recent:
            why = Why.LATELY
        else:
            continue
        secrets[entry.anchor][why].add(entry.secret)
    return {
        anchor: tuple(Reason(why, tuple(sorted(reasons[why]))) for why in Why if why in reasons)
        for anchor, reasons in secrets.items()
    }


@dataclass(frozen=True, slots=True)
class _Unclear:
    """The secrets of which it cannot be told, without reading them, which of their certificates is in use.

    Somebody edited the secret by hand: its new version carries a certificate over, and none is filed for it. Or nothing
    is said of its versions. Whatever was issued for such a secret counts.
    """

    clients: frozenset[str]
    authorities: frozenset[str]

    @classmethod
    def among(cls, seen: Observation) -> "_Unclear":
        unfiled = seen.in_place.difference((entry.secret, entry.version_id) for entry in seen.issued)
        return cls(
            clients=seen.unclear | {secret for secret, _ in seen.live & unfiled},
            authorities=seen.unclear | {secret for secret, _ in seen.issuing & unfiled},
        )


def _retiring(certificate: x509.Certificate, since: datetime) -> Anchor:
    return Anchor(certificate, (Reason(Why.RETIRING, (f"{since:%Y-%m-%d %H:%M} UTC",)),))


def _managed(key: str, certificate: x509.Certificate, reason: str, *, rejected: bool = False) -> LeftOut:
    return LeftOut(managed_anchor_key(key), 1, short_subject(certificate), key, reason, rejected)


def _rejected(entry: StaticEntry, certificate: x509.Certificate, reason: str) -> LeftOut:
    key = fingerprint(certificate)
    return LeftOut(entry.key, entry.position, short_subject(certificate), key, reason, rejected=True)
