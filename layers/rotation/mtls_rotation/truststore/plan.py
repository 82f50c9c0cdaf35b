"""The decision: which anchors belong in an edition of the truststore, which do not, each with the reason. Pure; no I/O.

An anchor belongs while a live version of a managed secret chains to it, or while an operator's bundle holds it. What
`ListSecrets` says may be five minutes old, so three things guard against removing too early: whatever was issued
within `Settings.recent` is live whatever the listing says; versions that events name are counted as live; and an anchor
that has become unused stays for `Settings.overlap` more. What an operator distrusts belongs whatever else is so to
none. docs/truststore.md explains every reason to an operator.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography import x509

from mtls_rotation.contract.layout import managed_anchor_key
from mtls_rotation.pki.bundles import Unreadable
from mtls_rotation.pki.certificates import fingerprint, short_subject
from mtls_rotation.pki.namesakes import Namesakes
from mtls_rotation.targets.api import Limits
from mtls_rotation.truststore.admission import Admission
from mtls_rotation.truststore.distrust import Distrust
from mtls_rotation.truststore.held import Doubts, Holders
from mtls_rotation.truststore.observation import Observation, StaticEntry, Unclear


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator may choose.

    Attributes:
        overlap: how long an anchor stays after it was first seen unused.
        recent: how long an issued certificate counts as live whatever the listing says.
        most_removed: the largest share of the deployed anchors that one publish may drop.
        index_kept: how long the bucket remembers a certificate at least that no label names any more.
    """

    overlap: timedelta = timedelta(hours=1)
    recent: timedelta = timedelta(hours=1)
    most_removed: float = 0.5
    index_kept: timedelta = timedelta(days=30)


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
        rejected: True where an operator means it to be trusted, and should know that it is not.
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


@dataclass(frozen=True, slots=True)
class Upload:
    """An anchor that operators upload, each of whose certificates the targets would take by itself.

    Attributes:
        entries: where it stands.
    """

    anchor: Anchor
    entries: tuple[StaticEntry, ...]

    def rejected(self, reason: str) -> Iterable[LeftOut]:
        """That it is left out, at each place where it stands."""
        return (_rejected(entry, self.anchor.certificate, reason) for entry in self.entries)


def decide(seen: Observation, settings: Settings, limits: Limits) -> Plan:
    """Decide what an edition should hold. Whether it is safe to publish is for `guards` to say.

    What rotation needs goes in whatever else there is. What operators upload goes in beside it, if it shuts out no
    client of another's and there is room.

    Args:
        seen: what there is; `deployed` is of this edition.
        settings: what an operator chose.
        limits: what the targets take that run this edition.
    """
    distrust = Distrust.among(seen)
    uploaded, left_out = _uploaded(seen, limits, distrust)
    used = _used(seen, settings)
    anchors: dict[str, Anchor] = {}
    for key, reasons in used.items():
        certificate = seen.managed.get(key) or seen.deployed.get(key)
        if against := distrust.object_against_named(key):
            subject = short_subject(certificate) if certificate else "unknown"
            left_out.append(LeftOut(managed_anchor_key(key), 1, subject, key, _distrusted(against)))
        elif certificate is None:
            lost = "certificates chain to it, and it is not in the bucket"
            left_out.append(LeftOut(managed_anchor_key(key), 1, "unknown", key, lost, rejected=True))
        elif unfit := limits.refusal(certificate, seen.now):
            left_out.append(_managed(key, certificate, unfit, rejected=True))
        else:
            known = uploaded.pop(key, None)
            anchors[key] = Anchor(certificate, (known.anchor.reasons if known else ()) + reasons)

    retiring: dict[str, datetime] = {}
    doubtful: dict[str, Anchor] = {}
    told = {it.fingerprint for it in left_out}
    for key, certificate in seen.deployed.items():
        if key in anchors or key in used or key in uploaded:
            continue
        since = seen.unused_since.get(key, seen.now)
        if against := distrust.object_against(certificate):
            if key not in told:
                left_out.append(_managed(key, certificate, _distrusted(against)))
        elif unfit := limits.refusal(certificate, seen.now):
            left_out.append(_managed(key, certificate, unfit))
        elif seen.doubtful:
            doubtful[key] = Anchor(certificate, (Reason(Why.UNCLEAR, seen.doubtful),))
        elif seen.now - since < settings.overlap or key in seen.out_of_sight:
            retiring[key] = since
        else:
            left_out.append(_managed(key, certificate, "nothing live chains to it"))

    ours, letting_in = _issued_from(seen), seen.letting_in
    doubts = Doubts(seen)
    admission = _admission(seen, limits)
    for key in sorted(anchors, key=lambda it: it not in letting_in):
        certificate = anchors[key].certificate
        # What only begins to be needed must not shut out clients of what is needed already.
        new = letting_in and key not in letting_in
        if new and (reason := admission.harm(certificate) or doubts.about(certificate, ours | seen.filed)):
            left_out.append(_managed(key, certificate, reason, rejected=True))
            del anchors[key]
        else:
            admission.admit(certificate)
    spare, largest = _spare(len(anchors), limits), _largest_bundle(uploaded)
    maybe_needed = sum(key not in ours and admission.harm(it.certificate) is None for key, it in doubtful.items())
    for rank in _by_rank(uploaded, retiring, doubtful, seen, ours):
        # Of those that may be needed none goes for another such.
        harmful = {key: admission.harm(it.certificate) for key in rank if (it := doubtful.get(key))}
        for key in rank:
            upload = uploaded.get(key)
            anchor = upload.anchor if upload else doubtful.get(key) or _retiring(seen.deployed[key], retiring[key])
            reason = harmful.get(key)
            if reason is None and key not in ours:
                # Room is left for what may be needed, or for successors where it is new.
                others = (maybe_needed if key in seen.deployed else spare) if upload else 0
                reason = admission.lack_of_room(anchor.certificate, others)
                reason = f"{reason}; most of what is uploaded is in {largest}" if reason else None
                reason = reason or (admission.surfeit(anchor.certificate) if upload else None)
            if reason is None and key not in doubtful:
                reason = admission.harm(anchor.certificate)
            if reason is None and key not in letting_in:
                reason = doubts.about(anchor.certificate)
            if reason is None:
                admission.admit(anchor.certificate)
                anchors[key] = anchor
            elif upload:
                left_out += upload.rejected(reason)
            else:
                left_out.append(_managed(key, anchor.certificate, reason))

    return Plan(
        anchors=dict(sorted(anchors.items())),
        left_out=tuple(dict.fromkeys(left_out)),
        added=frozenset(anchors) - frozenset(seen.deployed),
        removed=frozenset(seen.deployed) - frozenset(anchors),
        unused_since={key: since for key, since in retiring.items() if key in anchors and key not in seen.out_of_sight},
    )


def without_removals(plan: Plan, seen: Observation, limits: Limits) -> Plan:
    """The plan with what it takes away left in: what is deployed stays, and what is new comes beside it.

    What the targets would take no more goes all the same: no client is accepted by it. So does what is distrusted: that
    is an operator's word. So does what would shut out clients of another's, and that for which there is no room beside
    what is new.
    """
    ours, distrust = _issued_from(seen), Distrust.among(seen)
    admission = _admission(seen, limits)
    for anchor in plan.anchors.values():
        admission.admit(anchor.certificate)
    stays = {}
    for key in sorted(plan.removed, key=lambda it: (it not in ours, it not in seen.letting_in, it)):
        certificate = seen.deployed[key]
        reasons = (
            distrust.object_against(certificate),
            limits.refusal(certificate, seen.now),
            admission.harm(certificate),
            admission.lack_of_room(certificate),
        )
        if not any(reasons):
            admission.admit(certificate)
            stays[key] = certificate
    since = {key: seen.unused_since.get(key, seen.now) for key in stays}
    anchors = {key: _retiring(certificate, since[key]) for key, certificate in stays.items()} | dict(plan.anchors)
    return Plan(
        anchors=dict(sorted(anchors.items())),
        left_out=tuple(it for it in plan.left_out if it.rejected or it.fingerprint not in stays),
        added=plan.added,
        removed=plan.removed - set(stays),
        unused_since={**plan.unused_since, **since},
    )


def without_the_distrusted(plan: Plan, seen: Observation, limits: Limits) -> Plan | None:
    """What is deployed as it is, but for what is distrusted; None if none of it is."""
    if not Distrust.among(seen).among_these(seen.deployed):
        return None
    nothing_new = {key: it for key, it in plan.anchors.items() if key in seen.deployed}
    return without_removals(replace(plan, anchors=nothing_new, added=frozenset()), seen, limits)


def needed(seen: Observation, settings: Settings) -> frozenset[str]:
    """The managed anchors whose certificates `decide` will ask for."""
    return frozenset(_used(seen, settings)) | {it.fingerprint for it in seen.distrusted if it.fingerprint}


def anchors_in_use(seen: Observation) -> Mapping[str, frozenset[str]]:
    """The anchors that clients need now: for each, the secrets whose certificate at AWSCURRENT or AWSPREVIOUS does."""
    held = seen.live & seen.in_place
    unclear = Unclear.among(seen).clients
    secrets = defaultdict(set)
    for entry in seen.issued:
        if not entry.authority and ((entry.secret, entry.version_id) in held or entry.secret in unclear):
            secrets[entry.anchor].add(entry.secret)
    return {anchor: frozenset(names) for anchor, names in secrets.items()}


def largest_contributors(plan: Plan) -> dict[str, int]:
    """Which bundles or kinds of reason bring in most anchors, the largest first, and how many each.

    An anchor that has several counts for the first.
    """
    counts = Counter(
        reason.names[0] if reason.why is Why.UPLOADED else f"{reason.why} secrets"
        for reason in (anchor.reasons[0] for anchor in plan.anchors.values())
    )
    return dict(sorted(counts.items(), key=lambda it: (-it[1], it[0]))[:_NAMED])


# How many contributors are named.
_NAMED = 5


def _uploaded(seen: Observation, limits: Limits, distrust: Distrust) -> tuple[dict[str, Upload], list[LeftOut]]:
    """The anchors in operators' bundles by fingerprint, each certificate judged by itself and then with its chain."""
    left_out: list[LeftOut] = []
    fit: dict[str, dict[StaticEntry, x509.Certificate]] = defaultdict(dict)
    for entry in seen.static:
        match entry.content:
            case Unreadable(reason):
                left_out.append(LeftOut(entry.key, entry.position, "unreadable", "", reason, rejected=True))
            case certificate if against := distrust.object_against(certificate):
                left_out.append(_left_out(entry, certificate, _distrusted(against)))
            case certificate if unfit := limits.refusal(certificate, seen.now):
                left_out.append(_rejected(entry, certificate, unfit))
            case certificate:
                fit[entry.key][entry] = certificate

    places: dict[x509.Certificate, list[StaticEntry]] = defaultdict(list)
    for bundle in fit.values():
        # A bundle's chains are its own: nobody's upload makes another's too long.
        over_long = limits.over_long_chains(bundle.values())
        for entry, certificate in bundle.items():
            if too_long := over_long.get(certificate):
                left_out.append(_rejected(entry, certificate, too_long))
            else:
                places[certificate].append(entry)
    return {
        fingerprint(certificate): Upload(
            Anchor(certificate, (Reason(Why.UPLOADED, tuple(sorted({it.key for it in entries}))),)), tuple(entries)
        )
        for certificate, entries in places.items()
    }, left_out


def _by_rank(
    uploaded: Mapping[str, Upload],
    retiring: Iterable[str],
    doubtful: Iterable[str],
    seen: Observation,
    ours: AbstractSet[str],
) -> Iterable[list[str]]:
    """Who comes first where there is room for some: what clients of ours may hold, then what is deployed.

    What lets clients in now comes before what only stands in the published object, where anybody with rights to the
    bucket may have written it: a namesake of a CA that clients have must not stay beside it, or in its place. What the
    bucket holds as rotation's own stands for what was issued, should nobody know that any more.

    Of what is uploaded each bundle's first certificate comes before any one's second: the largest pays.
    """
    turns: Counter[str] = Counter()
    turn = {}
    for key, upload in uploaded.items():
        turn[key] = min(turns[it.key] for it in upload.entries)
        turns.update({it.key for it in upload.entries})
    uploads = sorted(uploaded, key=turn.__getitem__)
    others = [*doubtful, *retiring]
    letting_in, own = _undisputed(seen), ours | seen.filed
    yield [it for it in others if it in own and it in letting_in]
    yield [it for it in uploads if it in letting_in]
    yield [it for it in others if it in own and it not in letting_in]
    yield [it for it in others if it not in own and it in letting_in]
    yield [it for it in uploads if it in seen.deployed and it not in letting_in]
    yield [it for it in others if it not in own and it not in letting_in]
    yield [it for it in uploads if it not in seen.deployed]


def _undisputed(seen: Observation) -> frozenset[str]:
    """The anchors whose clients are accepted now: in some truststore servers can take no other for them."""
    found: set[str] = set()
    for truststore in seen.truststores:
        anchors = {key: seen.deployed[key] for key in truststore}
        alike = Namesakes(anchors.values())
        found |= {key for key, it in anchors.items() if alike.harming(it) is None}
    return frozenset(found)


def _admission(seen: Observation, limits: Limits) -> Admission:
    return Admission(limits, Holders(seen.held, {**seen.managed, **seen.deployed}))


def _largest_bundle(uploaded: Mapping[str, Upload]) -> str:
    counts = Counter(upload.entries[0].key for upload in uploaded.values())
    return max(counts, key=lambda it: (counts[it], it), default="no bundle")


def _issued_from(seen: Observation) -> frozenset[str]:
    """The anchors that rotation has issued from."""
    return frozenset(entry.anchor for entry in seen.issued)


def _spare(needed: int, limits: Limits) -> int:
    """How much room what is uploaded leaves: for a successor of each anchor that rotation needs, or a tenth."""
    return min(needed, limits.capacity // 10)


def _used(seen: Observation, settings: Settings) -> dict[str, tuple[Reason, ...]]:
    """The anchors that live certificates chain to, by fingerprint, each with the secrets whose certificates do."""
    unclear = Unclear.among(seen)
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


def _retiring(certificate: x509.Certificate, since: datetime) -> Anchor:
    return Anchor(certificate, (Reason(Why.RETIRING, (f"{since:%Y-%m-%d %H:%M} UTC",)),))


def _managed(key: str, certificate: x509.Certificate, reason: str, *, rejected: bool = False) -> LeftOut:
    return LeftOut(managed_anchor_key(key), 1, short_subject(certificate), key, reason, rejected)


def _rejected(entry: StaticEntry, certificate: x509.Certificate, reason: str) -> LeftOut:
    return replace(_left_out(entry, certificate, reason), rejected=True)


def _left_out(entry: StaticEntry, certificate: x509.Certificate, reason: str) -> LeftOut:
    return LeftOut(entry.key, entry.position, short_subject(certificate), fingerprint(certificate), reason)


def _distrusted(key: str) -> str:
    return f"it is distrusted by {key}"
