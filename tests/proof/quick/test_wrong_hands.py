"""Attacks on a deployed stack by those who have some right: each is refused, and nothing has changed by it."""

from __future__ import annotations

import pytest

from tests.kit.deployment import Deployment
from tests.proof.wrong_hands import ATTACKS, Attack, Scene, attempt


@pytest.fixture(scope="module")
def scene(gateway: Deployment) -> Scene:
    gateway.await_rest(gateway.client)
    gateway.await_rest(gateway.ca)
    scene = Scene(gateway)
    assert scene.waiting.name, "before anything is looked at"
    return scene


@pytest.mark.parametrize("attack", [it for it in ATTACKS if it.quick], ids=str)
def test_an_attack_is_refused_and_changes_nothing(scene: Scene, attack: Attack) -> None:
    assert attempt(scene, attack.run) is None
