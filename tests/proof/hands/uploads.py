"""Bundles of partners' CAs that are uploaded, and taken away again."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import rule

from mtls_rotation.contract import layout
from mtls_rotation.pki import certificates as pki
from tests.kit import builders
from tests.kit.stack import CA
from tests.proof.hands.player import Player
from tests.proof.quick_aws import CURRENT


class Uploads(Player):
    """Who may write to `anchors/static/`."""

    @rule(number=st.integers(0, 2), what=st.sampled_from(["good", "short", "expired", "malformed", "ours"]))
    def upload_a_bundle(self, number: int, what: str) -> None:
        """Good for long or a day, expired, cut off in the middle, or a CA of ours."""
        self._play("upload")
        days = {"short": 1, "expired": -1}.get(what, 300)
        before, end = self.world.moment - timedelta(days=2), self.world.moment + timedelta(days=days)
        pem = pki.to_pem(builders.foreign(common_name=f"Partner {number}", not_before=before, not_after=end))
        if what == "ours":
            value = self.world.value(self.world.quick_secrets.record(CA).at(CURRENT), CA)
            pem = value.get("certificate", pem)
        text = pem[: len(pem) // 2] if what == "malformed" else pem
        self.world.upload(f"{layout.STATIC_ANCHORS}{number}.pem", text.encode())

    @rule(number=st.integers(0, 2))
    def take_a_bundle_away(self, number: int) -> None:
        self._play("remove a bundle")
        self.world.remove(f"{layout.STATIC_ANCHORS}{number}.pem")
