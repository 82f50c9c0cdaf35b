"""Histories that once broke a promise, each told plainly. `tests.prove.histories` found them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.prove.world import World, endpoint_of
from tests.unit.stack import CA, CLIENT

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
