"""The promise over whole histories: whatever happens, in whatever order, and however late it is seen.

A world of secrets, labels and certificates is played through, as Secrets Manager and the rotation function would bring
it about. Every certificate is a real one, and whether a client is accepted is asked of the verifier, not of the plan.
The decision sees what AWS would show it: listings that lag by up to five minutes, each secret by a different time, and
events that come late, twice, in any order, or never.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mtls_rotation.aws.certificate_index import FiledCertificate
from mtls_rotation.pki import bundles
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.verification import refusals
from mtls_rotation.targets.limits import API_GATEWAY
from mtls_rotation.truststore import rendering
from mtls_rotation.truststore.guards import Guard, stop
from mtls_rotation.truststore.observation import Observation, StaticEntry
from mtls_rotation.truststore.plan import Settings, decide
from mtls_rotation.truststore.retention import obsolete
from tests.kit import builders
from tests.kit.builders import NOW

LAG = timedelta(minutes=5)
CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"
WHICH = st.integers(0, 4)
DAYS = st.sampled_from([1, 3, 30])


@dataclass
class Secret:
    """A secret: which version has which label, and what each version holds."""

    name: str
    authority: bool
    labels: dict[str, str] = field(default_factory=dict)
    values: dict[str, pki.CertifiedKey] = field(default_factory=dict)
    seen_before: list[tuple[datetime, dict[str, str]]] = field(default_factory=list)

    def held(self, since: datetime) -> list[pki.CertifiedKey]:
        """What a client may hold: AWSCURRENT, AWSPREVIOUS, and what it fetched at AWSCURRENT after `since`."""
        fetched = [self.as_of(since), *(labels for at, labels in self.seen_before if at > since)]
        versions = {labels[CURRENT] for labels in fetched if CURRENT in labels}
        versions |= {version for label, version in self.labels.items() if label != PENDING}
        return [self.values[version] for version in sorted(versions)]

    def as_of(self, moment: datetime) -> dict[str, str]:
        """The labels as they were then; none if the secret was not there yet."""
        return next((labels for at, labels in reversed(self.seen_before) if at <= moment), {})


class History(RuleBasedStateMachine):
    """A stack through its life."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.world: dict[str, Secret] = {}
        self.deleted: dict[str, Secret] = {}
        self.index: dict[tuple[str, str, str], FiledCertificate] = {}
        self.managed: dict[str, x509.Certificate] = {}
        self.made = 0
        self.static: dict[str, list[x509.Certificate]] = {}
        self.published = b""
        self.coming: bytes | None = None
        self.deployed = b""
        self.unused_since: dict[str, datetime] = {}
        self.events: list[str] = []
        self.options = Settings(overlap=timedelta(hours=1), index_kept=timedelta(days=2))
        self._begin()

    def _begin(self) -> None:
        """What the bootstrap leaves behind: a CA, one client, and a truststore that is deployed."""
        self._make("ca-0", authority=True)
        self._make("client-0", authority=False)
        self._sync((), {}, busy=False)
        self.the_domains_update_takes_effect()

    # what operators and Secrets Manager do ----------------------------------------------------------------------------

    @precondition(lambda self: len(self.world) < 5)
    @rule(authority=st.booleans())
    def make_a_secret(self, authority: bool) -> None:
        """A further one, whose first version comes by a rotation."""
        self.made += 1
        name = f"{'ca' if authority else 'client'}-{self.made}"
        self.world[name] = Secret(name, authority)

    @rule(which=WHICH, by=WHICH, days=DAYS)
    def create_secret_step(self, which: int, by: int, days: int) -> None:
        """createSecret: a version at AWSPENDING, filed under its CA. Again for the same version, it does nothing."""
        secret = self._secret(which)
        if PENDING in secret.labels:
            return
        authorities = [it for it in self.world.values() if it.authority and CURRENT in it.labels]
        if not secret.authority and not authorities:
            return
        signer = authorities[by % len(authorities)] if authorities and not secret.authority else None
        issued = self._issue(secret, signer, days)
        if issued is not None:
            self._stage(secret, issued)

    @rule(which=WHICH)
    def set_test_and_finish_steps(self, which: int) -> None:
        """Once what is deployed accepts the pending version, as setSecret asks, it becomes AWSCURRENT."""
        secret = self._secret(which)
        if PENDING not in secret.labels:
            return
        version = secret.labels[PENDING]
        if pki.fingerprint(secret.values[version].anchor) not in bundles.fingerprints(self.deployed):
            self.events.append(secret.name)  # Truststore Sync Requested
            return
        labels = {CURRENT: version} | ({PREVIOUS: secret.labels[CURRENT]} if CURRENT in secret.labels else {})
        self._label(secret, labels)

    @rule(which=WHICH)
    def cancel_a_rotation(self, which: int) -> None:
        secret = self._secret(which)
        if PENDING in secret.labels:
            self._label(secret, {label: it for label, it in secret.labels.items() if label != PENDING})

    @rule(which=WHICH)
    def go_back_to_the_previous_version(self, which: int) -> None:
        """An operator's rollback, of a client: both versions are held anyway."""
        secret = self._secret(which)
        if not secret.authority and {CURRENT, PREVIOUS} <= set(secret.labels):
            back = {CURRENT: secret.labels[PREVIOUS], PREVIOUS: secret.labels[CURRENT]}
            self._label(secret, secret.labels | back)

    @rule(which=WHICH)
    def edit_by_hand(self, which: int) -> None:
        """A new version that carries the certificate over, and that nobody files."""
        secret = self._secret(which)
        if not secret.authority and CURRENT in secret.labels:
            before, version = secret.labels[CURRENT], str(uuid.uuid4())
            secret.values[version] = secret.values[before]
            self._label(secret, secret.labels | {CURRENT: version, PREVIOUS: before})

    @rule(which=WHICH)
    def delete_a_secret(self, which: int) -> None:
        """It can be restored for a while, and is listed as long."""
        if len(self.world) > 1:
            name = self._secret(which).name
            self.deleted[name] = self.world.pop(name)

    @rule(which=WHICH, for_good=st.booleans())
    def restore_or_lose_a_deleted_secret(self, which: int, for_good: bool) -> None:
        if self.deleted:
            name = sorted(self.deleted)[which % len(self.deleted)]
            secret = self.deleted.pop(name)
            if not for_good:
                self.world[name] = secret

    @rule(number=st.integers(0, 2), days=DAYS)
    def upload_a_bundle(self, number: int, days: int) -> None:
        key = f"anchors/static/{number}.pem"
        end = self.now + timedelta(days=days)
        self.static[key] = [builders.foreign(common_name=key, not_before=self.now, not_after=end)]

    @rule(number=st.integers(0, 2))
    def take_a_bundle_away(self, number: int) -> None:
        self.static.pop(f"anchors/static/{number}.pem", None)

    @rule(minutes=st.sampled_from([1, 4, 6, 30, 61, 61, 61, 300, 1440, 2900]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(which=WHICH, by=WHICH, days=DAYS, times=st.integers(1, 3), data=st.data())
    def rotate_all_through(self, which: int, by: int, days: int, times: int, data: st.DataObject) -> None:
        """Whole rotations, one after the other, with nothing between them but what they need."""
        for _ in range(times):
            self.create_secret_step(which, by, days)
            self.set_test_and_finish_steps(which)
            if PENDING in self._secret(which).labels:
                self._sync([self._secret(which).name], self._lags(data), busy=False)
                if self.coming is not None:
                    self.the_domains_update_takes_effect()
                self.set_test_and_finish_steps(which)

    @rule(days=DAYS, times=st.integers(1, 3), data=st.data())
    def rotate_everything(self, days: int, times: int, data: st.DataObject) -> None:
        """The CAs first, then whatever chains to them."""
        order = sorted(range(len(self.world)), key=lambda which: not self._secret(which).authority)
        for which in order:
            self.rotate_all_through(which, which, days, 1 if self._secret(which).authority else times, data)

    # what the sync does -----------------------------------------------------------------------------------------------

    @rule(data=st.data(), busy=st.booleans(), at_once=st.booleans())
    def sync(self, data: st.DataObject, busy: bool, at_once: bool) -> None:
        """A reconcile that sees each secret as it was up to five minutes ago, with any of the events, some twice."""
        named = data.draw(st.lists(st.sampled_from(sorted(set(self.events))), unique=True)) if self.events else []
        lags = self._lags(data)
        self._sync(named, lags, busy=busy)
        if at_once and self.coming is not None:
            self.the_domains_update_takes_effect()

    @precondition(lambda self: self.coming is not None)
    @rule()
    def the_domains_update_takes_effect(self) -> None:
        """With what was published when it began, however much has been published since."""
        assert self.coming is not None
        self.deployed, self.coming = self.coming, None

    # what must hold ---------------------------------------------------------------------------------------------------

    @invariant()
    def whoever_holds_a_certificate_is_accepted(self) -> None:
        """I1: AWSCURRENT and AWSPREVIOUS, until they expire, at every instant, by what is deployed.

        And more: whatever was AWSCURRENT within the overlap, since clients keep what they fetched for a while.
        """
        anchors = list(bundles.certificates(self.deployed).values())
        for secret in (*self.world.values(), *self.deleted.values()):
            if secret.authority:
                continue
            for held in secret.held(self.now - self.options.overlap):
                if self.now <= held.certificate.not_valid_after_utc:
                    refused = refusals(held.certificate, None, held.chain, anchors, self.now)
                    assert not refused, f"{secret.name}: {refused}"

    @invariant()
    def the_truststore_is_never_empty_and_never_without_an_anchor_in_use(self) -> None:
        """I4, of what is published, which the domain will run next."""
        published = bundles.fingerprints(self.published)
        assert published
        assert bundles.fingerprints(self.deployed)
        for secret in (*self.world.values(), *self.deleted.values()):
            for held in secret.held(self.now) if not secret.authority else ():
                if self.now <= held.certificate.not_valid_after_utc:
                    assert pki.fingerprint(held.anchor) in published, secret.name

    # how it is brought about ------------------------------------------------------------------------------------------

    def _secret(self, which: int) -> Secret:
        return self.world[sorted(self.world)[which % len(self.world)]]

    def _lags(self, data: st.DataObject) -> dict[str, int]:
        """How many seconds late each secret is shown."""
        return {name: data.draw(st.sampled_from([0, 30, 300])) for name in sorted(self.world | self.deleted)}

    def _make(self, name: str, *, authority: bool) -> None:
        secret = self.world[name] = Secret(name, authority)
        signer = None if authority else self.world["ca-0"]
        issued = self._issue(secret, signer, 30)
        assert issued is not None
        self._stage(secret, issued)
        self._label(secret, {CURRENT: secret.labels[PENDING]})

    def _issue(self, secret: Secret, signer: Secret | None, days: int) -> pki.CertifiedKey | None:
        if secret.authority or signer is None:
            return builders.root(f"{secret.name} of {self.now}", now=self.now, days=90)
        authority = signer.values[signer.labels[CURRENT]]
        if self.now + timedelta(days=days) > authority.certificate.not_valid_after_utc:
            return None  # MTLS-103: it would outlive its CA
        return builders.leaf(authority, now=self.now, validity_days=days)

    def _stage(self, secret: Secret, issued: pki.CertifiedKey) -> None:
        version, anchor = str(uuid.uuid4()), pki.fingerprint(issued.anchor)
        secret.values[version] = issued
        self._label(secret, secret.labels | {PENDING: version})
        self.managed[anchor] = issued.anchor
        key = (anchor, secret.name, version)
        self.index[key] = FiledCertificate(*key, "5e1", self.now, authority=secret.authority)

    def _label(self, secret: Secret, labels: dict[str, str]) -> None:
        secret.seen_before.append((self.now - timedelta(microseconds=1), dict(secret.labels)))
        secret.labels = labels
        secret.seen_before.append((self.now, dict(labels)))
        self.events.append(secret.name)

    def _sync(self, named: Iterable[str], lags: dict[str, int], *, busy: bool) -> None:
        seen = self._observe(named, lags)
        plan = decide(seen, self.options, API_GATEWAY)
        body = rendering.render(plan.anchors)
        if stopped := stop(body, plan, seen, self.options, API_GATEWAY):
            assert stopped.guard is Guard.DROPS_TOO_MANY, f"the decision itself is at fault: {stopped.found}"
            return
        if plan.added or plan.removed or not self.published:
            self.published = body
        self.unused_since = dict(plan.unused_since)
        for entry in obsolete(seen, self.options):
            del self.index[(entry.anchor, entry.secret, entry.version_id)]
        if not busy and self.coming is None and self.deployed != self.published:
            self.coming = self.published

    def _observe(self, named: Iterable[str], lags: dict[str, int]) -> Observation:
        existing = self.world | self.deleted
        shown = [
            (secret, secret.as_of(self.now - min(LAG, timedelta(seconds=lags.get(name, 0)))))
            for name, secret in existing.items()
        ]
        shown += [(existing[name], existing[name].labels) for name in named if name in existing]  # DescribeSecret
        live = {(it.name, version) for it, labels in shown for version in labels.values()}
        issues = {(it.name, version) for it, labels in shown for label, version in labels.items() if label != PREVIOUS}
        in_place = {(it.name, version) for it, labels in shown for label, version in labels.items() if label != PENDING}
        return Observation(
            now=self.now,
            live=frozenset(live),
            issuing=frozenset(issues),
            in_place=frozenset(in_place),
            issued=tuple(self.index.values()),
            managed=self.managed,
            static=tuple(StaticEntry(key, it) for key, bundled in self.static.items() for it in bundled),
            deployed=bundles.certificates(self.published),
            unused_since=self.unused_since,
        )


TestHistories = History.TestCase
TestHistories.settings = settings(max_examples=25, stateful_step_count=50, deadline=None)
