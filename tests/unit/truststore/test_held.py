"""What clients hold counts where an anchor has the name of a CA of theirs: judged as servers judge, by names first."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from mtls_rotation.aws.certificate_index import FiledCertificate
from mtls_rotation.contract.layout import STATIC_ANCHORS, IssuedKey
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.certificates import fingerprint
from mtls_rotation.pki.namesakes import key_identifier
from mtls_rotation.targets.limits import API_GATEWAY
from mtls_rotation.truststore import held, rendering
from mtls_rotation.truststore.guards import Guard, Stop, stop
from mtls_rotation.truststore.observation import HeldCertificate, Observation, StaticEntry
from mtls_rotation.truststore.plan import Anchor, Plan, Reason, Settings, Why, decide
from tests.kit import builders
from tests.kit.builders import NOW
from tests.kit.stack import BUCKET, Stack

PARTNER, PARTNER_KEY = builders.Foreign(common_name="Partner CA").make()
NAMESAKE = builders.twin(PARTNER, b"another")
LONG_AGO = NOW - timedelta(days=10)


def leaf(ca: x509.Certificate, key: builders.AnyKey, *, names_its_issuer: bool) -> x509.Certificate:
    """A client certificate, as a CA makes it that heeds RFC 5280, section 4.2.1.1, or not."""
    if names_its_issuer:
        return builders.foreign(authority=False, common_name="client", signer=key, issuer=ca)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ca.subject)
        .public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
        .serial_number(0x5E1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=30))
    )
    return builder.sign(key, hashes.SHA256())


BARE = leaf(PARTNER, PARTNER_KEY, names_its_issuer=False)
NAMING = leaf(PARTNER, PARTNER_KEY, names_its_issuer=True)


def seen(certificate: x509.Certificate | None, *uploaded: x509.Certificate) -> Observation:
    """A client of the partner's CA, which is deployed."""
    key, version = fingerprint(PARTNER), frozenset({("client", "v")})
    return Observation(
        now=NOW,
        live=version,
        in_place=version,
        issuing=frozenset(),
        issued=(FiledCertificate(key, "client", "v", "5e1", LONG_AGO),),
        managed={key: PARTNER},
        deployed={key: PARTNER},
        static=tuple(StaticEntry("anchors/static/a.pem", it, number) for number, it in enumerate(uploaded, 1)),
        held=(HeldCertificate("client", "v", frozenset({key}), certificate),),
    )


@pytest.mark.parametrize(("certificate", "goes_in"), [(NAMING, True), (BARE, False), (None, False)])
def test_a_namesake_with_another_identifier_goes_in_if_clients_certificates_name_their_issuers_key(
    certificate: x509.Certificate | None, goes_in: bool
) -> None:
    plan = decide(seen(certificate, NAMESAKE), Settings(), API_GATEWAY)

    assert (fingerprint(NAMESAKE) in plan.anchors) is goes_in
    assert fingerprint(PARTNER) in plan.anchors
    assert [it.rejected for it in plan.left_out] == [True] * (not goes_in)
    assert all("whose certificate names no key of its issuer" in it.reason for it in plan.left_out)


def test_an_anchor_that_only_begins_to_be_needed_shuts_out_nobody_who_is_in() -> None:
    """Another partner's, whose CA has the same name and no key identifier: its rotation waits, with the reason."""
    newcomer = builders.twin(PARTNER, None)
    key = fingerprint(newcomer)
    observation = seen(NAMING)
    observation = replace(
        observation,
        live=observation.live | {("other", "w")},
        issued=(*observation.issued, FiledCertificate(key, "other", "w", "5e1", NOW)),
        managed={**observation.managed, key: newcomer},
    )
    plan = decide(observation, Settings(), API_GATEWAY)

    assert set(plan.anchors) == {fingerprint(PARTNER)}
    (left_out,) = plan.left_out
    assert (left_out.fingerprint, left_out.rejected) == (key, True)


def stopped(observation: Observation, *anchors: x509.Certificate) -> Stop | None:
    """What a guard says of a truststore of these, however it was decided."""
    chosen = {fingerprint(it): Anchor(it, (Reason(Why.UPLOADED, ("a.pem",)),)) for it in anchors}
    plan = Plan(dict(sorted(chosen.items())), (), frozenset(), frozenset(), {})
    return stop(rendering.render(plan.anchors), plan, observation, Settings(), API_GATEWAY)


@pytest.mark.parametrize(
    ("certificate", "beside"),
    [
        (BARE, NAMESAKE),
        (NAMING, builders.twin(PARTNER, None)),
        (
            NAMING,
            builders.twin(PARTNER, PARTNER.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest),
        ),
    ],
    ids=["the client's names no key", "a twin without an identifier", "a twin with the same identifier"],
)
def test_a_guard_judges_the_rendered_bytes_as_servers_do(
    certificate: x509.Certificate, beside: x509.Certificate
) -> None:
    found = stopped(seen(certificate), PARTNER, beside)

    assert found
    assert found.guard is Guard.REFUSES_A_CLIENT
    assert "client" in found.found


TWIN = builders.twin(PARTNER, key_identifier(PARTNER))


@pytest.mark.parametrize("beside", [NAMESAKE, builders.twin(PARTNER, None), TWIN], ids=["another", "none", "the same"])
def test_while_nothing_is_filed_for_a_secret_no_namesake_of_what_is_deployed_goes_in(beside: x509.Certificate) -> None:
    """Its certificate may name no key of its issuer, and nobody knows it."""
    plan = decide(replace(seen(NAMING, beside), issued=(), held=()), Settings(), API_GATEWAY)

    assert set(plan.anchors) == {fingerprint(PARTNER)}
    (left_out,) = plan.left_out
    assert (left_out.fingerprint, left_out.rejected) == (fingerprint(beside), True)


@pytest.mark.parametrize("ours", [True, False])
def test_what_only_begins_to_be_needed_waits_then_for_a_ca_of_rotations_and_for_no_upload(*, ours: bool) -> None:
    """The bucket holds the one as rotation's own."""
    key, deployed = fingerprint(NAMESAKE), fingerprint(PARTNER)
    observation = seen(NAMING)
    observation = replace(
        observation,
        live=observation.live | {("other", "w")},
        issued=(FiledCertificate(key, "other", "w", "5e1", NOW),),
        held=(),
        managed={key: NAMESAKE},
        filed=frozenset({key, *([deployed] if ours else [])}),
    )
    plan = decide(observation, Settings(), API_GATEWAY)

    assert set(plan.anchors) == ({deployed} if ours else {key, deployed})


def test_namesakes_that_are_deployed_both_stay_then() -> None:
    observation = seen(NAMING, NAMESAKE)
    deployed = {fingerprint(it): it for it in (PARTNER, NAMESAKE)}
    plan = decide(replace(observation, issued=(), held=(), deployed=deployed), Settings(), API_GATEWAY)

    assert set(plan.anchors) == set(deployed)


@pytest.mark.parametrize(
    ("filed", "in_force", "stays"),
    [
        ((), ((PARTNER,),), (PARTNER,)),
        ((), ((PARTNER,), (PARTNER, TWIN)), (PARTNER,)),
        ((PARTNER,), ((PARTNER,), (TWIN,)), (PARTNER,)),
        ((PARTNER,), ((PARTNER, TWIN),), (PARTNER,)),
        ((), ((PARTNER,), (TWIN,)), (PARTNER, TWIN)),
    ],
    ids=["by hand", "run by hand", "run alone by hand", "all there is", "nobody knows"],
)
def test_of_twins_the_one_whose_clients_are_accepted_stays_while_nothing_is_filed(
    filed: tuple[x509.Certificate, ...],
    in_force: tuple[tuple[x509.Certificate, ...], ...],
    stays: tuple[x509.Certificate, ...],
) -> None:
    """Where nobody can tell which one that is, nothing is published: one domain would come to refuse its clients."""
    observation = replace(
        seen(NAMING),
        issued=(),
        held=(),
        managed={},
        filed=frozenset(map(fingerprint, filed)),
        deployed={fingerprint(it): it for it in (TWIN, PARTNER)},
        in_force=tuple(frozenset(map(fingerprint, some)) for some in in_force),
    )
    plan = decide(observation, Settings(), API_GATEWAY)
    found = stop(rendering.render(plan.anchors), plan, observation, Settings(), API_GATEWAY)

    assert set(plan.anchors) == set(map(fingerprint, stays))
    assert (found and found.guard) == (None if stays == (PARTNER,) else Guard.NOTHING_KNOWN)


def test_a_guard_judges_by_what_targets_run_and_not_by_what_somebody_wrote_into_the_bucket() -> None:
    observation = replace(
        seen(NAMING),
        deployed={fingerprint(it): it for it in (TWIN, PARTNER)},
        in_force=(frozenset({fingerprint(PARTNER)}),),
    )
    found = stopped(observation, PARTNER, TWIN)

    assert found
    assert found.guard is Guard.REFUSES_A_CLIENT


def test_it_lets_through_what_servers_can_tell_apart() -> None:
    assert stopped(seen(NAMING), PARTNER, NAMESAKE) is None


def test_it_stops_nothing_for_a_client_that_servers_refuse_as_it_is() -> None:
    observation = seen(BARE)
    deployed = {**observation.deployed, fingerprint(NAMESAKE): NAMESAKE}

    assert stopped(replace(observation, deployed=deployed), PARTNER, NAMESAKE, builders.foreign()) is None


def test_a_path_through_an_intermediate_is_judged_at_each_ca() -> None:
    """A twin of the root, which the intermediate above a client could be taken for to be signed by."""
    root, issuing = builders.authorities(2)
    version = frozenset({("client", "v")})
    keys = {fingerprint(it): it for it in (root, issuing)}
    observation = Observation(
        now=NOW,
        live=version,
        in_place=version,
        issuing=frozenset(),
        issued=tuple(FiledCertificate(it, "client", "v", "5e1", LONG_AGO) for it in keys),
        managed=keys,
        deployed=keys,
    )
    cross = builders.cross_signed(root, PARTNER, PARTNER_KEY)

    assert stopped(observation, root, issuing, builders.foreign()) is None
    assert stopped(observation, root, issuing, cross)


# reading --------------------------------------------------------------------------------------------------------------


def file(stack: Stack, name: str, certificate: x509.Certificate, ca: x509.Certificate) -> str:
    """A client of somebody else's CA, as rotation files it; the key."""
    issuer = {"type": "external", "ca_certificates": pki.to_pem(ca)}
    value = builders.client_definition(issuer=issuer, trusted_by_gateway=True)
    held_key = pki.CertifiedKey(ec.generate_private_key(ec.SECP256R1()), certificate, (), ca)
    version = stack.add_secret(name, builders.issued_value(value, held_key))
    stack.file(held_key, name, version)
    end = certificate.not_valid_after_utc
    return str(IssuedKey(fingerprint(ca), name, version, pki.serial(certificate), not_after=end))


@pytest.fixture
def gateway(stack: Stack) -> Stack:
    """A stack with a gateway, and a client of a partner's CA that names no key of its issuer."""
    stack.with_gateway()
    file(stack, "stack/partner", BARE, PARTNER)
    stack.pass_time(minutes=1)
    stack.reconcile()
    return stack


def upload(stack: Stack, *certificates: x509.Certificate) -> None:
    stack.clients.s3.put_object(Bucket=BUCKET, Key=f"{STATIC_ANCHORS}a.pem", Body=pki.to_pem(*certificates).encode())
    stack.pass_time(minutes=1)
    stack.reconcile()


def test_a_namesake_of_a_partners_ca_is_left_out_by_what_its_client_holds(gateway: Stack) -> None:
    good = builders.foreign(common_name="Good")
    upload(gateway, NAMESAKE, good)

    assert {fingerprint(PARTNER), fingerprint(good)} < gateway.deployed()
    assert fingerprint(NAMESAKE) not in gateway.deployed()


def test_of_ours_a_namesake_with_another_identifier_goes_in_since_we_name_the_issuers_key(
    gateway: Stack, ca: pki.CertifiedKey
) -> None:
    twin = builders.twin(ca.certificate, b"another")
    upload(gateway, twin)

    assert {fingerprint(ca.certificate), fingerprint(twin)} < gateway.deployed()


def test_nothing_is_read_as_long_as_every_name_is_one_cas(gateway: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> None:
        raise AssertionError("a certificate of a client is read")

    monkeypatch.setattr(held.HeldReader, "_certificate", read)
    upload(gateway, builders.foreign(common_name="Good"))


def test_what_was_not_read_yet_counts_as_if_it_named_no_key(gateway: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    other, key = builders.Foreign(common_name="Other CA").make()
    file(gateway, "stack/other", leaf(other, key, names_its_issuer=True), other)
    monkeypatch.setattr(held, "MOST_READ", 0)
    namesake = builders.twin(other, b"another")
    upload(gateway, namesake)
    assert fingerprint(namesake) not in gateway.deployed()

    monkeypatch.setattr(held, "MOST_READ", 100)
    gateway.pass_time(minutes=1)
    gateway.reconcile()
    assert fingerprint(namesake) in gateway.deployed()
