"""What watches whole histories sees what it is there for."""

from __future__ import annotations

import pytest

from tests.kit.stack import CLIENT, DOMAIN
from tests.proof.world import ViolationError, World, endpoint_of


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
