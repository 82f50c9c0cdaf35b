"""What must never be published, whatever was decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509

from mtls_rotation.aws.certificate_index import FiledCertificate
from mtls_rotation.pki.certificates import fingerprint
from mtls_rotation.targets.api import Limits
from mtls_rotation.targets.limits import API_GATEWAY, api_gateway
from mtls_rotation.truststore import rendering
from mtls_rotation.truststore.guards import Guard, stop
from mtls_rotation.truststore.observation import Observation, StaticEntry
from mtls_rotation.truststore.plan import Plan, Settings, decide
from tests.kit import builders
from tests.kit.builders import NOW

ROOTS = [builders.root(f"CA {number}").certificate for number in range(4)]
EXPIRED = builders.root("Expired CA", now=NOW - timedelta(days=400)).certificate
LONG_AGO = NOW - timedelta(days=10)


def by_id(*certificates: x509.Certificate) -> Mapping[str, x509.Certificate]:
    return {fingerprint(certificate): certificate for certificate in certificates}


def clients_of(*authorities: x509.Certificate, deployed: tuple[x509.Certificate, ...] = ()) -> Observation:
    """One client secret for each of these CAs, its certificate at AWSCURRENT."""
    held = frozenset((f"client-{number}", "v") for number, _ in enumerate(authorities))
    return Observation(
        now=NOW,
        live=held,
        in_place=held,
        issuing=frozenset(),
        issued=tuple(
            FiledCertificate(fingerprint(it), f"client-{number}", "v", "5e1", LONG_AGO)
            for number, it in enumerate(authorities)
        ),
        managed=by_id(*authorities),
        deployed=by_id(*deployed),
        unused_since={fingerprint(it): LONG_AGO for it in deployed},
    )


def found(
    seen: Observation, settings: Settings | None = None, *, limits: Limits = API_GATEWAY, force: bool = False
) -> Guard | None:
    """What stops the publish of what is decided."""
    settings = settings or Settings()
    plan = decide(seen, settings, limits)
    stopped = stop(rendering.render(plan.anchors), plan, seen, settings, limits, force=force)
    return stopped.guard if stopped else None


def test_what_is_decided_in_the_ordinary_way_is_let_through() -> None:
    assert found(clients_of(*ROOTS[:2], deployed=(ROOTS[0],))) is None


@pytest.mark.parametrize("force", [False, True])
def test_an_empty_truststore_is_never_let_through(force: bool) -> None:
    assert found(clients_of(), force=force) is Guard.EMPTY
    assert found(clients_of(EXPIRED), force=force) is Guard.EMPTY


def test_bytes_in_which_nothing_can_be_read_are_an_empty_truststore() -> None:
    seen = clients_of(ROOTS[0])
    stopped = stop(b"rubbish", decide(seen, Settings(), API_GATEWAY), seen, Settings(), API_GATEWAY)

    assert stopped
    assert stopped.guard is Guard.EMPTY


def test_more_than_the_share_dropped_at_once_is_stopped_unless_it_is_forced() -> None:
    seen = clients_of(ROOTS[0], deployed=tuple(ROOTS))

    assert found(seen, Settings(most_removed=0.5)) is Guard.DROPS_TOO_MANY
    assert found(seen, Settings(most_removed=0.75)) is None
    assert found(seen, Settings(most_removed=0.5), force=True) is None


def test_half_dropped_at_once_is_let_through() -> None:
    assert found(clients_of(ROOTS[0], deployed=tuple(ROOTS[:2]))) is None


def test_what_has_expired_is_accepted_by_nobody_so_it_may_be_dropped() -> None:
    assert found(clients_of(ROOTS[0], deployed=(ROOTS[0], EXPIRED)), Settings(most_removed=0.1)) is None


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("label", ["filed", "edited by hand"])
def test_a_truststore_that_would_refuse_a_certificate_in_use_is_never_let_through(force: bool, label: str) -> None:
    seen = clients_of(*ROOTS[:3], deployed=tuple(ROOTS[:3]))
    if label == "edited by hand":
        edited = seen.live - {("client-2", "v")} | {("client-2", "edited")}
        seen = replace(seen, live=edited, in_place=edited)
    wrong = dropping(ROOTS[2], decide(seen, Settings(), API_GATEWAY))
    stopped = stop(rendering.render(wrong.anchors), wrong, seen, Settings(), API_GATEWAY, force=force)

    assert stopped
    assert stopped.guard is Guard.REFUSES_A_CLIENT
    assert "client-2" in stopped.found
    assert fingerprint(ROOTS[2]) in stopped.found


def dropping(certificate: x509.Certificate, plan: Plan) -> Plan:
    """A decision with a fault in it."""
    return replace(plan, anchors={key: it for key, it in plan.anchors.items() if key != fingerprint(certificate)})


def test_the_bytes_are_looked_at_and_not_the_plan_that_they_were_made_from() -> None:
    seen = clients_of(*ROOTS[:3], deployed=tuple(ROOTS[:3]))
    plan = decide(seen, Settings(), API_GATEWAY)
    stopped = stop(rendering.render(dropping(ROOTS[1], plan).anchors), plan, seen, Settings(), API_GATEWAY)

    assert stopped
    assert stopped.guard is Guard.REFUSES_A_CLIENT


def test_a_certificate_that_the_gateway_refuses_already_holds_up_nobody_else() -> None:
    seen = clients_of(ROOTS[0], EXPIRED, deployed=(ROOTS[0], EXPIRED))
    lost = replace(seen, issued=(*seen.issued, FiledCertificate("f" * 64, "client-0", "v", "5e1", LONG_AGO)))

    assert found(lost) is None


def test_above_the_quota_it_is_stopped_early_and_the_largest_contributors_are_named() -> None:
    seen = clients_of(*ROOTS)
    plan = decide(seen, Settings(), API_GATEWAY)
    stopped = stop(rendering.render(plan.anchors), plan, seen, Settings(), api_gateway(3), force=True)

    assert stopped
    assert stopped.guard is Guard.TOO_LARGE
    assert stopped.found == "4 certificates, where 3 are allowed; most come from in use by secrets (4)"
    assert found(seen, limits=api_gateway(4)) is None


def test_no_upload_stops_a_publish_however_large_it_is() -> None:
    partners = [builders.foreign(common_name=f"Partner {number}") for number in range(9)]
    static = tuple(StaticEntry("anchors/static/large.pem", it, number) for number, it in enumerate(partners))

    assert found(replace(clients_of(ROOTS[0]), static=static), limits=api_gateway(6)) is None


def test_twins_of_an_anchor_that_stays_may_be_dropped_however_many_they_are() -> None:
    twins = tuple(builders.twin(ROOTS[0], None) for _ in range(3))

    assert found(clients_of(ROOTS[0], deployed=(ROOTS[0], *twins)), Settings(most_removed=0.1)) is None
