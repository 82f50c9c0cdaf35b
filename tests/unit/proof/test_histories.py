"""What watches whole histories sees what it is there for."""

from __future__ import annotations

import pytest
from cryptography import x509

from mtls_rotation.contract import layout
from mtls_rotation.pki import certificates as pki
from mtls_rotation.revocation.register import Register
from tests.kit import builders
from tests.kit.stack import CA, CLIENT, DOMAIN
from tests.proof.world import INTRUDERS, PINNED, ViolationError, World, endpoint_of


def test_a_client_that_is_refused_is_seen() -> None:
    """What runs is set to what holds no anchor of any client, and nobody is said to have done it."""
    world = World.begun()
    with endpoint_of(world):
        world.s3.put_object(Bucket="certificates", Key="truststore.pem", Body=b"")
        world.running[DOMAIN] = [world.s3.objects["truststore.pem"][-1].version_id]
        with pytest.raises(ViolationError, match=f"I1: {DOMAIN} refuses {CLIENT}"):
            world.check()


def test_a_rotation_that_stays_behind_is_seen() -> None:
    world = World.begun()
    with endpoint_of(world):
        world.operator(world.secrets.rotate_secret, SecretId=CLIENT)
        with pytest.raises(ViolationError, match=f"not settled: {CLIENT} stays at AWSPENDING"):
            world.require_settled()


def _revoked(world: World) -> x509.Certificate:
    """A client's certificate, by a notice that was taken in."""
    version = world.quick_secrets.record(CLIENT).at("AWSCURRENT")
    pem = world.value(version, CLIENT)["certificate"]
    certificate = x509.load_pem_x509_certificate(pem.encode())
    world.notify(f"{layout.REVOKED}lost", pem.encode(), certificate)
    world.go(world.start_revocation())
    return certificate


def test_a_revocation_that_is_lifted_is_seen() -> None:
    world = World.begun()
    with endpoint_of(world):
        _revoked(world)
        world.check()
        world.s3.put_object(Bucket="certificates", Key=layout.REVOCATION_LIST, Body=Register().render())
        with pytest.raises(ViolationError, match=r"I9: revoked/lost revokes [0-9a-f]+, and the list has it no more"):
            world.check()


def test_a_list_that_is_lost_where_no_versions_are_kept_counts_again_once_it_is_made_anew() -> None:
    world = World.begun()
    with endpoint_of(world):
        world.s3.versioning = "Suspended"
        certificate = _revoked(world)
        world.lose_the_list(None)
        world.check()
        world.go(world.start_revocation())
        assert world._list_that_counts()[0].include(certificate)
        world.s3.put_object(Bucket="certificates", Key=layout.REVOCATION_LIST, Body=Register().render())
        with pytest.raises(ViolationError, match="I9: revoked/lost revokes"):
            world.check()


def test_somebody_on_the_list_whom_nobody_has_revoked_is_seen() -> None:
    world = World.begun()
    with endpoint_of(world):
        world.revoked_ever -= {_revoked(world)}
        world._list_judged = None
        with pytest.raises(ViolationError, match="I9: nobody has revoked"):
            world.check()


def test_a_revoked_certificate_that_stays_in_use_is_seen() -> None:
    world = World.begun()
    with endpoint_of(world):
        _revoked(world)
        with pytest.raises(ViolationError, match=f"not settled: {CLIENT} has a revoked certificate"):
            world._require_replaced()


def _everything_is_lost(world: World) -> bytes:
    """Of a stack whose client chains to its second CA; what is left is what the domain runs, or ran before."""
    first = world.s3.newest(layout.TRUSTSTORE)
    assert first
    assert first.body
    for name in (CA, CLIENT):
        assert world.rotate_through(name)
    for key in world.keys_under(""):
        world.lose(key)
    return first.body


def test_a_ca_of_which_nothing_tells_any_more_is_owed_again_once_it_is_filed_anew() -> None:
    world = World.begun()
    with endpoint_of(world):
        _everything_is_lost(world)
        world.set_back(DOMAIN, 0)
        world.rotate_through(CA)
        world.check()
        world.settle()
        world.require_settled()
        assert not world._returning


def test_a_ca_that_is_left_out_although_a_domain_runs_it_is_seen() -> None:
    world = World.begun()
    with endpoint_of(world):
        body = _everything_is_lost(world)
        world.s3.put_object(Bucket="certificates", Key=layout.TRUSTSTORE, Body=body)
        with pytest.raises(ViolationError, match=f"I4: published without an anchor of {CLIENT}"):
            world._require_safe(body)


def test_what_is_uploaded_under_the_name_of_a_ca_that_has_expired_may_be_in() -> None:
    world = World.begun({PINNED})
    with endpoint_of(world):
        version = world.quick_secrets.record(PINNED).at("AWSCURRENT")
        assert version
        held = world.held(PINNED, version)
        assert held
        twin = builders.twin(held.anchor, None)
        world.upload(f"{INTRUDERS}twin", pki.to_pem(twin).encode())
        assert pki.fingerprint(twin) not in set.union(*world._expected())
        world.pass_seconds(3 * 86400)
        assert pki.fingerprint(twin) in world._expected()[1]
