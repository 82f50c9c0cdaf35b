"""The decision: which anchors belong in the truststore, and which do not, each with the reason. Pure; no I/O.

An anchor belongs while a live version of a managed secret hangs on it, or while an operator's bundle holds it. What
`ListSecrets` says may be five minutes old, so three things guard against removing too early: whatever was issued
within `Settings.recent` is live whatever the listing says; versions that events name are counted as live; and an anchor
that has become unused stays for `Settings.overlap` more.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509

from mtls_rotation.pki.certificates import fingerprint, subject
from mtls_rotation.truststore.bundle import Unreadable
from mtls_rotation.truststore.rules import refusal


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator may choose.

    Attributes:
        overlap: how long an anchor stays after it was first seen unused.
        recent: how long an issued certificate counts as live whatever the listing says.
        most_removed: the largest share of the deployed anchors that one publish may drop.
    """

    overlap: timedelta = timedelta(hours=1)
    recent: timedelta = timedelta(hours=1)
    most_removed: float = 0.5


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate in the bucket: which version of which secret hangs on which anchor, and since when.

    Attributes:
        authority: whether it is a CA's own certificate, which hangs on itself.
    """

    anchor: str
    secret: str
    version_id: str
    at: datetime
    authority: bool = False


@dataclass(frozen=True, slots=True)
class StaticEntry:
    """One certificate, or one unreadable block, of a bundle under `anchors/static/`."""

    key: str
    content: x509.Certificate | Unreadable


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that the decision takes into account.

    Attributes:
        live: (secret name, version id) of every version that a client may hold, or that will be held next.
        issuing: likewise, of every version that a CA issues from or is about to. A CA at AWSPREVIOUS does not: it stays
            for the certificates that hang on it, and no longer.
        in_place: those of `live` and `issuing` that are past their rotation, so that they hold a value for certain.
        managed: the anchors in the bucket, by fingerprint.
        deployed: the anchors of the truststore that is published now, by fingerprint.
        unused_since: for each anchor on its way out, since when it has been unused.
    """

    now: datetime
    live: frozenset[tuple[str, str]]
    issuing: frozenset[tuple[str, str]]
    issued: tuple[Issued, ...]
    managed: Mapping[str, x509.Certificate]
    static: tuple[StaticEntry, ...] = ()
    deployed: Mapping[str, x509.Certificate] = field(default_factory=dict)
    unused_since: Mapping[str, datetime] = field(default_factory=dict)
    in_place: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Anchor:
    """A certificate that belongs in the truststore, and why."""

    certificate: x509.Certificate
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A certificate that does not belong in the truststore, and why.

    Attributes:
        where: the object that holds it, or "managed".
        rejected: True for an operator's certificate that API Gateway would not take: somebody should know.
    """

    where: str
    subject: str
    fingerprint: str
    reason: str
    rejected: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What the truststore should be.

    Attributes:
        refusal: why this plan must not be published unless forced; None if it may be.
    """

    anchors: Mapping[str, Anchor]
    left_out: tuple[LeftOut, ...]
    added: frozenset[str]
    removed: frozenset[str]
    unused_since: Mapping[str, datetime]
    refusal: str | None


def decide(seen: Observation, settings: Settings) -> Plan:
    """Decide what the truststore should hold."""
    wanted, left_out = _judge_static(seen)
    for anchor, reasons in _used_anchors(seen, settings).items():
        certificate = seen.managed.get(anchor) or seen.deployed.get(anchor)
        if certificate is None:
            left_out.append(
                LeftOut("managed", "unknown", anchor, "its certificate is not in the bucket", rejected=True)
            )
        elif reason := refusal(certificate, seen.now):
            left_out.append(LeftOut("managed", subject(certificate), anchor, reason))
        else:
            wanted.setdefault(anchor, []).extend(reasons)

    unused_since = {}
    for anchor, certificate in seen.deployed.items():
        if anchor in wanted or refusal(certificate, seen.now):
            continue
        since = seen.unused_since.get(anchor, seen.now)
        if seen.now - since < settings.overlap:
            unused_since[anchor] = since
            wanted[anchor] = [f"unused since {since:%Y-%m-%d %H:%M:%S} UTC, kept for the overlap"]
        else:
            left_out.append(LeftOut("managed", subject(certificate), anchor, "nothing live hangs on it"))

    anchors = {key: Anchor(_find(key, seen), tuple(reasons)) for key, reasons in sorted(wanted.items())}
    removed = frozenset(seen.deployed) - frozenset(anchors)
    return Plan(
        anchors=anchors,
        left_out=tuple(left_out),
        added=frozenset(anchors) - frozenset(seen.deployed),
        removed=removed,
        unused_since=unused_since,
        refusal=_guard(anchors, removed, seen, settings),
    )


def _judge_static(seen: Observation) -> tuple[dict[str, list[str]], list[LeftOut]]:
    wanted: dict[str, list[str]] = {}
    left_out = []
    for entry in seen.static:
        match entry.content:
            case Unreadable(position, reason):
                left_out.append(LeftOut(f"{entry.key}, block {position}", "unreadable", "", reason, rejected=True))
            case certificate:
                key = fingerprint(certificate)
                if unfit := refusal(certificate, seen.now):
                    left_out.append(LeftOut(entry.key, subject(certificate), key, unfit, rejected=True))
                else:
                    wanted.setdefault(key, []).append(f"static: {entry.key}")
    return wanted, left_out


def _used_anchors(seen: Observation, settings: Settings) -> dict[str, list[str]]:
    """The anchors that live certificates hang on, by fingerprint, each with the versions that do."""
    used: dict[str, list[str]] = {}
    filed = {(certificate.secret, certificate.version_id) for certificate in seen.issued}
    edited_clients = {secret for secret, _ in (seen.live & seen.in_place) - filed}
    edited_authorities = {secret for secret, _ in (seen.issuing & seen.in_place) - filed}
    for certificate in seen.issued:
        versions = seen.issuing if certificate.authority else seen.live
        edited = edited_authorities if certificate.authority else edited_clients
        if (certificate.secret, certificate.version_id) in versions:
            reason = f"in use: {certificate.secret} {certificate.version_id}"
        elif certificate.secret in edited:
            # Somebody edited the secret by hand: its new version carries a certificate over, and none is filed for it.
            # Which one cannot be told without reading the secret, so whatever was issued for it counts.
            reason = f"may be in use: a version of {certificate.secret} that was edited by hand"
        elif seen.now - certificate.at < settings.recent:
            reason = f"issued lately: {certificate.secret} {certificate.version_id}"
        else:
            continue
        used.setdefault(certificate.anchor, []).append(reason)
    return used


def _find(key: str, seen: Observation) -> x509.Certificate:
    for source in (seen.managed, seen.deployed):
        if key in source:
            return source[key]
    return next(certificate for certificate in _static_certificates(seen.static) if fingerprint(certificate) == key)


def _static_certificates(entries: Iterable[StaticEntry]) -> Iterable[x509.Certificate]:
    return (entry.content for entry in entries if isinstance(entry.content, x509.Certificate))


def _guard(anchors: Mapping[str, Anchor], removed: frozenset[str], seen: Observation, settings: Settings) -> str | None:
    if not anchors:
        return "an empty truststore, which would refuse every client"
    expired = {key for key, certificate in seen.deployed.items() if seen.now > certificate.not_valid_after_utc}
    dropped = len(removed - expired)
    if seen.deployed and dropped > settings.most_removed * len(seen.deployed) and len(seen.deployed) > 1:
        return f"{dropped} of {len(seen.deployed)} anchors dropped at once"
    return None
