"""What must never be published, whatever was decided. Each guard looks at the very bytes that would be. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509

from mtls_rotation.pki import bundles
from mtls_rotation.pki.certificates import short_subject
from mtls_rotation.pki.namesakes import Namesakes
from mtls_rotation.pki.servers import Servers
from mtls_rotation.pki.signatures import comparable
from mtls_rotation.targets.api import Limits
from mtls_rotation.truststore.distrust import Distrust
from mtls_rotation.truststore.observation import Observation
from mtls_rotation.truststore.plan import Plan, Settings, anchors_in_use, largest_contributors


class Guard(StrEnum):
    """What stopped a publish."""

    EMPTY = "empty"
    TOO_LARGE = "too-large"
    REFUSES_A_CLIENT = "refuses-a-client"
    DROPS_TOO_MANY = "drops-too-many"
    RUNS_UNKNOWN = "runs-unknown"
    NOTHING_KNOWN = "nothing-known"

    @property
    def may_be_forced(self) -> bool:
        """Whether an operator may say that it is meant."""
        return self in {Guard.DROPS_TOO_MANY, Guard.RUNS_UNKNOWN}


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a truststore must not be published.

    Attributes:
        found: what is wrong with it, in words.
        remedy: what an operator can do.
    """

    guard: Guard
    found: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A truststore that is about to be published.

    Attributes:
        accepted: the certificates in its bytes that its targets would take now, by fingerprint.
        size: how many bytes it has.
    """

    accepted: Mapping[str, x509.Certificate]
    size: int
    plan: Plan
    seen: Observation
    settings: Settings
    limits: Limits


def stop(
    body: bytes, plan: Plan, seen: Observation, settings: Settings, limits: Limits, *, force: bool = False
) -> Stop | None:
    """Why `body` must not take the place of what is deployed; None if it may.

    Args:
        body: the rendered truststore. It is read again here: nothing is taken over from the plan that was rendered.
        plan: what it was rendered from; it names the largest contributors.
        seen: what the plan was made from.
        settings: what an operator chose.
        limits: what the targets take that are to run it.
        force: let through what an operator may mean.
    """
    read = bundles.certificates(body)
    accepted = {key: it for key, it in read.items() if limits.refusal(it, seen.now) is None}
    candidate = Candidate(accepted, len(body), plan, seen, settings, limits)
    stops = (found for guard in _GUARDS if (found := guard(candidate)))
    return next((it for it in stops if not (force and it.guard.may_be_forced)), None)


_FILE_ANEW = (
    "File everything anew with `mtlsctl truststore rebuild`. A secret that is marked for deletion is restored first:"
    " nobody can read it otherwise."
)


def _is_not_empty(candidate: Candidate) -> Stop | None:
    if candidate.accepted:
        return None
    if Distrust.among(candidate.seen).among_these(candidate.seen.deployed):
        return Stop(
            Guard.EMPTY,
            "an empty truststore, as everything that is trusted now is distrusted: API Gateway takes none that is"
            " empty, so what is deployed stays, and what is distrusted in it is still let in",
            "Have another CA trusted first, by `mtlsctl rotate --all --ca NAME` or an upload under anchors/static/."
            " Until then an allow-list that denies everything keeps everybody out.",
        )
    return Stop(
        Guard.EMPTY,
        "an empty truststore, which would refuse every client",
        "Look at the secrets' tag and at the bucket: something took every anchor away at once.",
    )


def _is_within_the_quota(candidate: Candidate) -> Stop | None:
    count, limits = len(candidate.plan.anchors), candidate.limits
    if count > limits.capacity:
        found = f"{count} certificates, where {limits.capacity} are allowed"
    elif limits.size is not None and candidate.size > limits.size:
        found = f"{candidate.size} bytes, where {limits.size} are allowed"
    else:
        return None
    largest = ", ".join(f"{name} ({number})" for name, number in largest_contributors(candidate.plan).items())
    return Stop(
        Guard.TOO_LARGE,
        f"{found}; most come from {largest}",
        f"Have {limits.quota} raised: so many are needed by secrets alone.",
    )


def _refuses_no_client(candidate: Candidate) -> Stop | None:
    """A client that is accepted now stays accepted.

    createSecret files a certificate under each CA of its chain once it has verified that they have signed it. So a
    certificate is accepted as long as these CAs are. A CA that the gateway does not take even now, because it is lost
    or has expired, is no reason to hold up everyone else's: it is named among what is left out. One that an operator
    distrusts is meant to refuse them.
    """
    seen = candidate.seen
    needed = anchors_in_use(seen)
    missing = (set(needed) & seen.letting_in).difference(candidate.accepted)
    missing -= set(Distrust.among(seen).among_these(seen.deployed))
    taken = {key for key in missing if candidate.limits.refusal(seen.deployed[key], seen.now) is None}
    if taken:
        secrets = frozenset[str]().union(*(needed[key] for key in taken))
        return _refusal(secrets, f"for want of {', '.join(sorted(taken))}")
    if refused := _newly_refused(candidate, needed):
        return _refusal(refused, "; ".join(dict.fromkeys(refused.values())))
    # Of a secret for which nothing is filed, each that lets clients in may be the one that it needs.
    if doubtful := seen.doubtful:
        maybe_needed = dict.fromkeys(seen.letting_in, frozenset(doubtful))
        if refused := _newly_refused(candidate, maybe_needed):
            why = "; ".join(dict.fromkeys(refused.values()))
            found = f"a truststore that may refuse certificates in use, {why}"
            return Stop(
                Guard.NOTHING_KNOWN, f"{found}, and nothing filed for what is in use of {_some(doubtful)}", _FILE_ANEW
            )
    return None


def _newly_refused(candidate: Candidate, needed: Mapping[str, frozenset[str]]) -> Mapping[str, str]:
    """The secrets whose clients servers accept now and would refuse, as they go by names first; each with the reason.

    Each CA is judged at which a path could go astray, and each certificate that was read because its CA has a namesake.
    """
    found: dict[str, str] = {}
    for truststore in candidate.seen.truststores:
        if truststore != set(candidate.accepted):
            found |= _refused_after(truststore, candidate, needed)
    return found


def _refused_after(
    truststore: AbstractSet[str], candidate: Candidate, needed: Mapping[str, frozenset[str]]
) -> Mapping[str, str]:
    """The same, of those that servers with this truststore accept."""
    seen = candidate.seen
    deployed = [seen.deployed[key] for key in truststore]
    before, after = Servers(deployed, seen.now), Servers(candidate.accepted.values(), seen.now)
    alike_before, alike = Namesakes(deployed), Namesakes(candidate.accepted.values())
    found: dict[str, str] = {}
    for key in sorted(set(needed) & set(candidate.accepted) & truststore):
        certificate, secrets = candidate.accepted[key], needed[key]
        other = alike.harming(certificate)
        if other is not None and alike_before.harming(certificate) is None:
            found |= dict.fromkeys(secrets, f"since servers may take {short_subject(other)} for another of its name")
        elif comparable(certificate.issuer) != comparable(certificate.subject):
            found |= dict.fromkeys(secrets, _newly(before, after, certificate))
    for it in seen.held:
        accepted = (it.secret, it.version_id) in seen.in_place and it.anchors <= set(candidate.accepted)
        if accepted and it.certificate is not None:
            found |= {it.secret: found.get(it.secret) or _newly(before, after, it.certificate)}
    return {secret: why for secret, why in found.items() if why}


def _newly(before: Servers, after: Servers, certificate: x509.Certificate) -> str:
    """Why servers will refuse the path of a certificate; empty if they do so now, or will not."""
    problems = after.refusals_of_path(certificate)
    return problems[0] if problems and not before.refusals_of_path(certificate) else ""


def _some(secrets: Sequence[str]) -> str:
    most = 5
    return ", ".join(secrets[:most]) + (f" and {len(secrets) - most} more" if secrets[most:] else "")


def _refusal(secrets: Iterable[str], why: str) -> Stop:
    return Stop(
        Guard.REFUSES_A_CLIENT,
        f"a truststore that would refuse the certificate in use of {', '.join(sorted(secrets)[:5])}, {why}",
        "This is a fault in the sync itself: nothing was changed. Please report it with the function's log.",
    )


def _drops_no_more_than_its_share(candidate: Candidate) -> Stop | None:
    deployed, now = candidate.seen.deployed, candidate.seen.now
    alive = {key for key, certificate in deployed.items() if now <= certificate.not_valid_after_utc}
    # What is distrusted, and what would shut out clients of another's, is let go of at once, however much it is.
    alive -= set(Distrust.among(candidate.seen).among_these(deployed))
    kept = Namesakes(candidate.accepted.values())
    dropped = {key for key in alive.difference(candidate.accepted) if kept.harmed_by(deployed[key]) is None}
    if len(deployed) < 2 or len(dropped) <= candidate.settings.most_removed * len(deployed):
        return None
    return Stop(
        Guard.DROPS_TOO_MANY,
        f"{len(dropped)} of {len(deployed)} anchors dropped at once",
        "Look at what would be removed; if it is meant, run the sync with force.",
    )


def _takes_the_place_of_what_is_known(candidate: Candidate) -> Stop | None:
    """What a target runs counts as deployed. Where nobody can tell what that is, nobody can tell whom it lets in."""
    if not candidate.seen.unreadable:
        return None
    if doubtful := candidate.seen.doubtful:
        return Stop(
            Guard.NOTHING_KNOWN,
            f"{', '.join(candidate.seen.unreadable)} running a version of the truststore that is not in the bucket any"
            f" more, and nothing filed for what is in use of {_some(doubtful)}",
            _FILE_ANEW,
        )
    return Stop(
        Guard.RUNS_UNKNOWN,
        f"{', '.join(candidate.seen.unreadable)} running a version of the truststore that is not in the bucket any"
        " more, so that nobody can tell whom another would shut out",
        "Bring the version back, if there is a copy. Otherwise file everything anew with `mtlsctl truststore rebuild`,"
        " upload again what partners had under anchors/static/, and run the sync with force.",
    )


_GUARDS: tuple[Callable[[Candidate], Stop | None], ...] = (
    _takes_the_place_of_what_is_known,
    _is_not_empty,
    _is_within_the_quota,
    _refuses_no_client,
    _drops_no_more_than_its_share,
)
