"""Histories that once broke a promise, each told plainly. `tests.proof.parts.histories` found them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from mtls_rotation.contract.layout import ISSUED, MANAGED_ANCHORS, SYNC_NOTES, TRUSTSTORE
from mtls_rotation.errors import TruststoreGuardError
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.namesakes import key_identifier
from tests.kit import builders
from tests.kit.stack import CA, CLIENT, DOMAIN
from tests.proof.quick_aws import CURRENT
from tests.proof.world import PINNED, SECOND_DOMAIN, World, endpoint_of

DAY = 86400


@pytest.fixture
def world() -> Iterator[World]:
    """A stack with a CA and a client that holds a certificate."""
    world = World.begun()
    with endpoint_of(world):
        yield world
        world.abandon()


def settle(world: World) -> None:
    world.settle()
    world.require_settled()


@pytest.mark.parametrize("name", [CA, CLIENT])
def test_a_rotation_that_stood_still_until_its_certificate_expired_does_not_stand_still_for_ever(
    world: World, name: str
) -> None:
    """Secrets Manager goes on with the same token, which goes on giving the same certificate."""
    world.operator(world.secrets.rotate_secret, SecretId=name)
    (run,) = world.runs
    world.go(world.start_step(run))
    world.pass_seconds(12 * DAY)
    settle(world)


def test_what_is_new_does_not_wait_until_somebody_has_looked_at_what_would_go(world: World) -> None:
    """A CA that was rotated some times in a row leaves as many anchors at once, more than a guard lets go unasked.

    Every rotation to a new CA waited then, for as long as nobody came; so did every client that chains to it.
    """
    for _ in range(5):
        assert world.rotate_through(CA)
    for _ in range(2):
        assert world.rotate_through(CLIENT)
    retired = len(world.deployed()) - 1
    world.pass_seconds(7200)
    world.deliver_all()  # they are noted as unused
    world.pass_seconds(7200)
    sync = world.start_sync()
    world.go(sync)
    assert isinstance(sync.failure, TruststoreGuardError)

    assert world.rotate_through(CA)
    assert len(world.deployed()) == retired + 2
    assert world.rotate_through(CLIENT)
    settle(world)


def test_what_is_new_reaches_a_busy_domain_while_what_would_go_is_held_back(world: World) -> None:
    """The run that publishes finds the domain updating; a later one, with nothing to publish, brings it on."""
    for _ in range(5):
        assert world.rotate_through(CA)
    for _ in range(2):
        assert world.rotate_through(CLIENT)
    world.pass_seconds(7200)
    world.deliver_all()
    world.pass_seconds(7200)
    world.gateway.domains[DOMAIN].status = "UPDATING"
    world.settling[DOMAIN] = world.moment + timedelta(seconds=60)

    assert world.rotate_through(CA)


def test_the_thirty_seconds_count_from_when_the_update_was_taken(world: World) -> None:
    """Not from when it was decided on: the calls in between take time, too. The world refuses one that is early."""
    world.add_domains(SECOND_DOMAIN)
    world.running[SECOND_DOMAIN] = list(world.running[DOMAIN])
    pem = pki.to_pem(builders.foreign(not_before=world.moment - timedelta(days=1)))
    world.upload("anchors/static/partner.pem", pem.encode())
    quick = world.wire.tick
    world.wire.tick = lambda: world.shared_time.tick(timedelta(seconds=1))
    world.go(world.start_sync(world.queue))
    world.wire.tick = quick
    while len(world.gateway.updates) < 2:
        world.pass_seconds(1)
        world.go(world.start_sync(world.queue))

    assert {name for name, _ in world.gateway.updates} == {DOMAIN, SECOND_DOMAIN}


@pytest.mark.parametrize("second", ["", "runs both", "runs the twin"])
@pytest.mark.parametrize("lost", [[], [SYNC_NOTES], [MANAGED_ANCHORS], [SYNC_NOTES, MANAGED_ANCHORS]], ids="+".join)
def test_a_twin_that_somebody_writes_into_the_truststore_shuts_nobody_out_while_nothing_is_filed(
    world: World, lost: list[str], second: str
) -> None:
    """What a domain runs that nobody touched tells which of the two is ours, whatever else is lost."""
    for prefix in (ISSUED, *lost):
        for key in world.keys_under(prefix):
            world.lose(key)
    held = world.held(CLIENT, str(world.quick_secrets.record(CLIENT).at(CURRENT)))
    found = world.s3.newest(TRUSTSTORE)
    assert held
    assert found
    twin = builders.twin(held.anchor, key_identifier(held.anchor))
    beside = b"" if second == "runs the twin" else found.body or b""
    world.write_over(TRUSTSTORE, beside + pki.to_pem(twin).encode())
    if second:
        world.add_domains(SECOND_DOMAIN)
        world.set_back(SECOND_DOMAIN, -1)
    world.pass_seconds(31)
    world.go(world.start_sync())

    world.check()
    settle(world)
    assert pki.fingerprint(twin) not in world.deployed()


def test_nothing_is_claimed_of_what_has_been_replaced_once_nothing_tells_of_it_any_more() -> None:
    """The bucket is emptied, and the domain set back to a truststore from before; all else is claimed."""
    world = World.begun([PINNED])
    with endpoint_of(world):
        for _ in range(3):
            assert world.rotate_through(PINNED)
        for key in world.keys_under(""):
            world.lose(key)
        world.set_back(DOMAIN, 0)
        assert world.rotate_through(PINNED)
        settle(world)
        world.abandon()


@pytest.mark.parametrize("content", ["itself", ""])
def test_who_distrusts_a_former_of_our_ca_has_taken_out_our_ca(world: World, content: str) -> None:
    """They are of one key, and who has stolen it has it for both."""
    value = world.value(world.quick_secrets.record(CA).at(CURRENT), CA)
    (ours,) = pki.from_pem(value["certificate"])
    former = builders.foreign(
        subject=ours.subject,
        key=pki.key_from_pem(value["private_key"]),
        not_before=world.moment - timedelta(days=2),
        not_after=world.moment + timedelta(days=300),
    )
    partner = builders.foreign(common_name="Partner CA")
    world.upload("anchors/static/former.pem", pki.to_pem(former, partner).encode())
    settle(world)
    world.distrust(pki.fingerprint(former), pki.to_pem(former) if content else "")
    world.check()
    settle(world)
    assert {pki.fingerprint(ours), pki.fingerprint(former)}.isdisjoint(world.deployed())
