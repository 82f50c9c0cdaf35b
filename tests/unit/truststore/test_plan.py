"""Which anchors belong in the truststore: the decision, given what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from mtls_rotation.aws.certificate_index import FiledCertificate
from mtls_rotation.pki.bundles import Unreadable
from mtls_rotation.pki.certificates import fingerprint
from mtls_rotation.targets.limits import API_GATEWAY, api_gateway
from mtls_rotation.truststore.observation import Observation, StaticEntry
from mtls_rotation.truststore.plan import Plan, Reason, Settings, Why, without_removals
from mtls_rotation.truststore.plan import decide as decide_for
from mtls_rotation.truststore.retention import obsolete
from tests.kit import builders
from tests.kit.builders import NOW

OTHERS = builders.root("Somebody else")
ROOTS = [builders.root(f"CA {number}").certificate for number in range(4)]
EXPIRED = builders.root("Expired CA", now=NOW - timedelta(days=400)).certificate
LONG_AGO = NOW - timedelta(days=10)
SERIAL = "5e1"
IDS = {certificate: fingerprint(certificate) for certificate in (*ROOTS, EXPIRED)}


def issued(anchor: x509.Certificate, version: str, at: datetime = LONG_AGO) -> FiledCertificate:
    return FiledCertificate(IDS[anchor], "client", version, SERIAL, at)


def decide(observation: Observation, settings: Settings) -> Plan:
    """What API Gateway's edition should hold."""
    return decide_for(observation, settings, API_GATEWAY)


def seen(
    *certificates: FiledCertificate,
    live: tuple[str, ...] = (),
    deployed: tuple[x509.Certificate, ...] = (),
    **more: Any,
) -> Observation:
    return Observation(
        now=NOW,
        live=frozenset(("client", version) for version in live),
        issuing=frozenset(),
        issued=certificates,
        managed={key: certificate for certificate, key in IDS.items()},
        deployed=by_id(deployed),
        **more,
    )


def by_id(certificates: tuple[x509.Certificate, ...]) -> dict[str, x509.Certificate]:
    return {IDS[certificate]: certificate for certificate in certificates}


def test_an_anchor_belongs_while_a_live_version_hangs_on_it() -> None:
    plan = decide(seen(issued(ROOTS[0], "a"), issued(ROOTS[1], "b"), live=("a",)), Settings())

    assert set(plan.anchors) == plan.added == {IDS[ROOTS[0]]}
    assert plan.anchors[IDS[ROOTS[0]]].reasons == (Reason(Why.IN_USE, ("client",)),)


def test_a_version_of_the_same_id_in_another_secret_does_not_count() -> None:
    other = FiledCertificate(IDS[ROOTS[0]], "other", "a", SERIAL, LONG_AGO)
    assert not decide(seen(other, live=("a",)), Settings()).anchors


@pytest.mark.parametrize(("age", "belongs"), [(timedelta(minutes=59), True), (timedelta(hours=1), False)])
def test_what_was_issued_lately_is_live_whatever_the_listing_says(age: timedelta, belongs: bool) -> None:
    plan = decide(seen(issued(ROOTS[0], "a", NOW - age)), Settings())
    assert (IDS[ROOTS[0]] in plan.anchors) is belongs


def test_an_operators_certificate_belongs_without_anything_hanging_on_it() -> None:
    partner = builders.foreign()
    plan = decide(seen(static=(StaticEntry("anchors/static/partner.pem", partner),)), Settings())

    assert plan.anchors[fingerprint(partner)].reasons == (Reason(Why.UPLOADED, ("anchors/static/partner.pem",)),)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (Unreadable("it cannot be read"), "it cannot be read"),
        (builders.foreign(not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(days=1)), "it expired on"),
        (builders.foreign(authority=False, issuer=ROOTS[0]), "neither a CA nor self-signed"),
    ],
)
def test_an_operators_unfit_certificate_is_named_and_blocks_no_other(content: Any, reason: str) -> None:
    static = (StaticEntry("anchors/static/a.pem", content), StaticEntry("anchors/static/b.pem", ROOTS[1]))
    plan = decide(seen(issued(ROOTS[0], "a"), live=("a",), static=static), Settings())

    assert set(plan.anchors) == {IDS[ROOTS[0]], IDS[ROOTS[1]]}
    (left_out,) = plan.left_out
    assert reason in left_out.reason
    assert left_out.key == "anchors/static/a.pem"
    assert left_out.rejected


def test_an_operators_ca_that_is_too_far_below_its_root_is_left_out_and_the_others_are_not() -> None:
    certificates = builders.authorities(5)
    static = tuple(StaticEntry("anchors/static/a.pem", it, number) for number, it in enumerate(certificates, 1))
    plan = decide(seen(static=static), Settings())

    assert set(plan.anchors) == {fingerprint(certificate) for certificate in certificates[:4]}
    (left_out,) = plan.left_out
    assert (left_out.position, left_out.subject) == (5, "CN=Level 4")


def uploads(*certificates: x509.Certificate, key: str = "anchors/static/a.pem") -> tuple[StaticEntry, ...]:
    return tuple(StaticEntry(key, it, number) for number, it in enumerate(certificates, 1))


def identifier(certificate: x509.Certificate) -> bytes:
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


SHOUTED = x509.Name([x509.NameAttribute(it.oid, str(it.value).upper() + "  ") for it in ROOTS[0].subject])


@pytest.mark.parametrize("deployed", [False, True], ids=["new", "deployed already"])
@pytest.mark.parametrize(
    "twin",
    [
        builders.twin(ROOTS[0], identifier(ROOTS[0])),
        builders.twin(ROOTS[0], None),
        builders.twin(ROOTS[0], identifier(ROOTS[0]), subject=SHOUTED),
        builders.cross_signed(ROOTS[0], OTHERS.certificate, OTHERS.key),
    ],
    ids=["with our identifier", "with none", "with our name as servers compare names", "with our key, cross-signed"],
)
def test_an_upload_that_servers_may_take_for_an_anchor_of_ours_is_left_out(
    twin: x509.Certificate, deployed: bool
) -> None:
    there = (ROOTS[0], ROOTS[1], *((twin,) if deployed else ()))
    observation = seen(issued(ROOTS[0], "a"), live=("a",), static=uploads(ROOTS[2], twin))
    plan = decide(replace(observation, deployed={fingerprint(it): it for it in there}), Settings())

    assert set(plan.anchors) == {IDS[ROOTS[0]], IDS[ROOTS[1]], IDS[ROOTS[2]]}
    (left_out,) = plan.left_out
    assert (left_out.key, left_out.position, left_out.rejected) == ("anchors/static/a.pem", 2, True)
    assert "servers would take one for the other" in left_out.reason
    assert IDS[ROOTS[0]] in left_out.reason


def test_a_twin_whose_upload_was_deleted_goes_at_once_whatever_the_overlap() -> None:
    twins = [builders.twin(ROOTS[0], None) for _ in range(3)]
    observation = seen(issued(ROOTS[0], "a"), live=("a",))
    observation = replace(observation, deployed={fingerprint(it): it for it in (ROOTS[0], *twins)})
    plan = decide(observation, Settings())

    assert set(plan.anchors) == {IDS[ROOTS[0]]}
    assert set(without_removals(plan, observation, API_GATEWAY).anchors) == {IDS[ROOTS[0]]}


def test_a_twin_goes_even_while_nobody_knows_what_a_version_chains_to_and_nothing_else_does() -> None:
    twin = builders.twin(ROOTS[0], None)
    observation = seen(issued(ROOTS[0], "a"), live=("a", "by hand"), in_place=frozenset({("client", "by hand")}))
    observation = replace(observation, deployed={fingerprint(it): it for it in (*ROOTS[:2], twin)})
    plan = decide(observation, Settings(overlap=timedelta(0)))

    assert observation.doubtful
    assert plan.removed == {fingerprint(twin)}


def test_a_twin_of_what_is_uploaded_and_deployed_goes_even_then() -> None:
    partner = builders.foreign(common_name="Partner CA")
    twin = builders.twin(partner, identifier(partner))
    observation = seen(live=("by hand",), in_place=frozenset({("client", "by hand")}), static=uploads(partner))
    plan = decide(replace(observation, deployed={fingerprint(it): it for it in (twin, partner)}), Settings())

    assert set(plan.anchors) == {fingerprint(partner)}


def test_two_uploads_of_one_name_whose_identifiers_differ_both_belong() -> None:
    before, after = (builders.foreign(common_name="Partner CA") for _ in range(2))
    plan = decide(seen(static=uploads(before, after)), Settings())

    assert set(plan.anchors) == {fingerprint(before), fingerprint(after)}


def test_a_ca_renewed_with_its_key_belongs_beside_its_former() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    before, after = (builders.foreign(common_name="Partner CA", key=key) for _ in range(2))
    plan = decide(seen(static=uploads(before, after)), Settings())

    assert set(plan.anchors) == {fingerprint(before), fingerprint(after)}


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_uploads_that_servers_may_take_for_each_other_the_deployed_one_stays(first: int) -> None:
    partner = builders.foreign(common_name="Partner CA")
    pair = (partner, builders.twin(partner, None))
    observation = seen(static=(*uploads(pair[0], key="a.pem"), *uploads(pair[1], key="b.pem")))
    plan = decide(replace(observation, deployed={fingerprint(pair[first]): pair[first]}), Settings())

    assert set(plan.anchors) == {fingerprint(pair[first])}


def test_a_bundle_makes_no_chain_of_another_bundle_too_long() -> None:
    certificates = builders.authorities(5)
    static = (*uploads(*certificates[:4], key="a.pem"), *uploads(certificates[4], key="b.pem"))

    assert set(decide(seen(static=static), Settings()).anchors) == set(map(fingerprint, certificates))


PARTNERS = [builders.foreign(common_name=f"Partner {number}") for number in range(12)]


def test_uploads_beyond_the_quota_are_left_out_and_what_rotation_needs_is_not() -> None:
    static = (*uploads(*PARTNERS[:9], key="large.pem"), *uploads(*PARTNERS[9:11], key="small.pem"))
    observation = seen(issued(ROOTS[0], "a"), issued(ROOTS[1], "b"), live=("a", "b"), static=static)
    plan = decide_for(observation, Settings(), api_gateway(6))

    assert len(plan.anchors) == 6
    assert {IDS[ROOTS[0]], IDS[ROOTS[1]], *map(fingerprint, PARTNERS[9:11])} <= set(plan.anchors)
    assert {it.key for it in plan.left_out} == {"large.pem"}
    assert all("no room" in it.reason and it.rejected for it in plan.left_out)
    assert "large.pem" in plan.left_out[0].reason


def test_nobody_who_is_in_is_put_out_by_what_is_uploaded_later() -> None:
    static = (*uploads(*PARTNERS[:5], key="first.pem"), *uploads(*PARTNERS[5:], key="later.pem"))
    deployed = {fingerprint(it): it for it in PARTNERS[:5]}
    plan = decide_for(replace(seen(static=static), deployed=deployed), Settings(), api_gateway(6))

    assert set(deployed) < set(plan.anchors)


def test_uploads_leave_room_for_the_successors_of_what_rotation_needs() -> None:
    observation = seen(issued(ROOTS[0], "a"), live=("a",), static=uploads(*PARTNERS))
    assert len(decide_for(observation, Settings(), api_gateway(10)).anchors) == 9


def test_what_rotation_needs_takes_the_room_of_what_is_uploaded() -> None:
    observation = seen(issued(ROOTS[0], "a"), issued(ROOTS[1], "b"), live=("a", "b"), static=uploads(*PARTNERS[:5]))
    deployed = {fingerprint(it): it for it in (*PARTNERS[:5], ROOTS[0])}
    plan = decide_for(replace(observation, deployed=deployed), Settings(), api_gateway(6))

    assert {IDS[ROOTS[0]], IDS[ROOTS[1]]} < set(plan.anchors)
    assert plan.removed == {fingerprint(PARTNERS[4])}


def test_what_a_guard_keeps_from_leaving_does_not_take_the_room_of_what_rotation_needs() -> None:
    observation = seen(issued(ROOTS[0], "a"), live=("a",))
    deployed = {fingerprint(it): it for it in PARTNERS[:6]}
    observation = replace(observation, deployed=deployed, unused_since=dict.fromkeys(deployed, LONG_AGO))
    plan = without_removals(decide_for(observation, Settings(), api_gateway(6)), observation, api_gateway(6))

    assert IDS[ROOTS[0]] in plan.anchors
    assert len(plan.anchors) == 6


def test_every_reason_for_an_anchor_is_given_and_each_bundle_and_secret_once() -> None:
    static = (StaticEntry("b.pem", ROOTS[0], 1), StaticEntry("a.pem", ROOTS[0], 1), StaticEntry("a.pem", ROOTS[0], 2))
    observation = seen(
        issued(ROOTS[0], "a"),
        issued(ROOTS[0], "b"),
        FiledCertificate(IDS[ROOTS[0]], "authority", "c", SERIAL, LONG_AGO, authority=True),
        issued(ROOTS[0], "d", NOW),
        live=("a", "b"),
        static=static,
    )
    plan = decide(replace(observation, issuing=frozenset({("authority", "c")})), Settings())

    assert [str(reason) for reason in plan.anchors[IDS[ROOTS[0]]].reasons] == [
        "uploaded in a.pem, b.pem",
        "in use by client",
        "issues for authority",
        "issued from lately for client",
    ]


def test_a_secret_of_whose_versions_nothing_is_said_keeps_all_its_anchors() -> None:
    observation = replace(seen(issued(ROOTS[0], "a"), issued(ROOTS[1], "b")), unclear=frozenset({"client"}))

    assert set(decide(observation, Settings()).anchors) == {IDS[ROOTS[0]], IDS[ROOTS[1]]}


def test_what_no_label_names_is_forgotten_after_its_time_and_not_of_a_secret_that_is_unclear() -> None:
    observation = seen(issued(ROOTS[0], "live"), issued(ROOTS[0], "gone"), issued(ROOTS[0], "new", NOW), live=("live",))
    days = Settings(index_kept=timedelta(days=5))

    assert [entry.version_id for entry in obsolete(observation, days)] == ["gone"]
    assert obsolete(observation, Settings(index_kept=timedelta(days=11))) == ()
    assert obsolete(replace(observation, unclear=frozenset({"client"})), days) == ()
    edited = replace(observation, live=frozenset({("client", "by hand")}), in_place=frozenset({("client", "by hand")}))
    assert obsolete(edited, days) == ()


def test_an_anchor_that_has_become_unused_stays_for_the_overlap() -> None:
    observation = seen(issued(ROOTS[0], "a"), live=("a",), deployed=(ROOTS[0], ROOTS[1]))
    plan = decide(observation, Settings(overlap=timedelta(hours=2)))

    assert set(plan.anchors) == {IDS[ROOTS[0]], IDS[ROOTS[1]]}
    assert plan.unused_since == {IDS[ROOTS[1]]: NOW}


@pytest.mark.parametrize(("unused", "stays"), [(timedelta(minutes=119), True), (timedelta(hours=2), False)])
def test_it_leaves_when_the_overlap_is_over(unused: timedelta, stays: bool) -> None:
    since = {IDS[ROOTS[1]]: NOW - unused}
    observation = seen(issued(ROOTS[0], "a"), live=("a",), deployed=(ROOTS[0], ROOTS[1]), unused_since=since)
    plan = decide(observation, Settings(overlap=timedelta(hours=2)))

    assert (IDS[ROOTS[1]] in plan.anchors) is stays
    assert (IDS[ROOTS[1]] in plan.removed) is not stays
    assert plan.unused_since == (since if stays else {})


def test_an_anchor_that_is_used_again_begins_its_overlap_afresh_later() -> None:
    since = {IDS[ROOTS[0]]: LONG_AGO}
    plan = decide(seen(issued(ROOTS[0], "a"), live=("a",), deployed=(ROOTS[0],), unused_since=since), Settings())

    assert plan.unused_since == {}


def test_an_expired_anchor_leaves_even_while_something_hangs_on_it() -> None:
    observation = seen(issued(ROOTS[0], "a"), issued(EXPIRED, "b"), live=("a", "b"), deployed=(ROOTS[0], EXPIRED))
    plan = decide(observation, Settings())

    assert plan.removed == {IDS[EXPIRED]}
    (left_out,) = plan.left_out
    assert (left_out.fingerprint, left_out.rejected) == (IDS[EXPIRED], True)


def test_an_anchor_whose_certificate_is_lost_is_reported() -> None:
    observation = seen(
        FiledCertificate("f" * 64, "client", "b", SERIAL, LONG_AGO), issued(ROOTS[0], "a"), live=("a", "b")
    )
    (left_out,) = decide(observation, Settings()).left_out

    assert (left_out.fingerprint, left_out.rejected) == ("f" * 64, True)


# For every world ------------------------------------------------------------------------------------------------------

AGES = st.integers(0, 60 * 24 * 30).map(lambda minutes: NOW - timedelta(minutes=minutes))
ANCHORS = st.sampled_from([*ROOTS, EXPIRED])
VERSIONS = ("a", "b", "c", "d", "e")


@st.composite
def worlds(draw: st.DrawFn) -> Observation:
    """Anything that may be seen: what is listed lags behind, what is deployed may be anything."""
    static = st.sampled_from([StaticEntry("s", ROOTS[3]), StaticEntry("s", EXPIRED), StaticEntry("s", Unreadable("x"))])
    unused: Mapping[str, datetime] = draw(st.dictionaries(ANCHORS.map(IDS.__getitem__), AGES))
    return seen(
        *(issued(draw(ANCHORS), version, draw(AGES)) for version in draw(st.sets(st.sampled_from(VERSIONS)))),
        live=tuple(draw(st.sets(st.sampled_from(VERSIONS)))),
        deployed=tuple(draw(st.sets(ANCHORS))),
        static=tuple(draw(st.lists(static, max_size=3))),
        unused_since=unused,
    )


@given(worlds(), st.floats(0, 1), st.integers(1, 100))
def test_an_anchor_in_date_with_a_live_certificate_is_never_left_out(
    world: Observation, share: float, hours: int
) -> None:
    plan = decide(world, Settings(overlap=timedelta(hours=hours), most_removed=share))
    needed = {entry.anchor for entry in world.issued if (entry.secret, entry.version_id) in world.live}

    assert needed - {IDS[EXPIRED]} <= set(plan.anchors)


@given(worlds())
def test_an_expired_anchor_is_never_in_it(world: Observation) -> None:
    assert IDS[EXPIRED] not in decide(world, Settings()).anchors


@given(worlds())
def test_an_anchor_leaves_only_after_its_overlap(world: Observation) -> None:
    plan = decide(world, Settings(overlap=timedelta(hours=1)))
    over = {key for key, since in world.unused_since.items() if world.now - since >= timedelta(hours=1)}

    assert plan.removed <= over | {IDS[EXPIRED]}


@given(worlds())
def test_a_plan_that_was_published_changes_nothing_when_it_is_made_again(world: Observation) -> None:
    plan = decide(world, Settings())
    again = decide(
        Observation(
            now=world.now,
            live=world.live,
            issuing=world.issuing,
            issued=world.issued,
            managed=world.managed,
            static=world.static,
            deployed={key: anchor.certificate for key, anchor in plan.anchors.items()},
            unused_since=plan.unused_since,
        ),
        Settings(),
    )

    assert (again.added, again.removed, again.unused_since) == (frozenset(), frozenset(), plan.unused_since)


def test_a_ca_is_remembered_as_long_as_a_client_certificate_hangs_on_it() -> None:
    """Its CRL must go on, although no label names its own version any more."""
    long_ago = NOW - timedelta(days=90)
    ca = FiledCertificate(IDS[ROOTS[0]], "authority", "c", SERIAL, long_ago, authority=True)
    held = issued(ROOTS[0], "a", long_ago)

    assert obsolete(seen(ca, held, live=("a",)), Settings()) == ()
    assert set(obsolete(seen(ca, held, live=()), Settings())) == {ca, held}
