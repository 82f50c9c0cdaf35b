"""Notices of revocation."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from mtls_rotation.contract import layout
from tests.proof.hands.player import CALLS, WHICH, Player
from tests.proof.quick_aws import CURRENT, PENDING, PREVIOUS


class Revocations(Player):
    """Who may write to `revoked/`."""

    @rule(which=WHICH, label=st.sampled_from([CURRENT, PENDING, PREVIOUS]), calls=CALLS)
    def revoke(self, which: int, label: str, calls: int | None) -> None:
        """A notice is uploaded, and revocation runs."""
        self._play("revoke")
        name = self._secret(which)
        version = self.world.quick_secrets.record(name).at(label)
        if certificate := self.world.value(version, name).get("certificate"):
            self.world.upload(f"{layout.REVOKED}{name.rpartition('/')[2]}.pem", certificate.encode())
        self._go(self.world.start_revocation(), calls)
