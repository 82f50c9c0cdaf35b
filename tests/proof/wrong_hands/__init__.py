"""Attacks by those who have some right, and not that one: each is refused, and nothing has changed.

Who they are and what holds them is in ``docs/security.md``. Each attack is a function of the scene; it raises
`AssertionError` where it is not refused.
"""

from tests.proof.wrong_hands.attacks import ATTACKS, Attack
from tests.proof.wrong_hands.scene import Scene, attempt

__all__ = ["ATTACKS", "Attack", "Scene", "attempt"]
