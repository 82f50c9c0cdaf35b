"""What is lost: notes of the engine, secrets."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from mtls_rotation.contract import layout
from tests.proof.hands.player import WHICH, Player
from tests.proof.world import AUTHORITIES


class Losses(Player):
    """Who may delete."""

    @rule()
    def lose_the_notes(self) -> None:
        """`state/sync.json` may be deleted at any time."""
        self._play("lose the notes")
        self.world.s3.delete_object(Bucket="certificates", Key=layout.SYNC_NOTES)
        self.world.unsure()

    @rule(which=WHICH)
    def delete_a_secret(self, which: int) -> None:
        """It can be restored for a while."""
        self._play("delete")
        if len(self.world.names()) > 1:
            self.world.operator(self.world.secrets.delete_secret, SecretId=self._secret(which))

    @precondition(lambda self: self._deleted())
    @rule(which=WHICH, for_good=st.sampled_from([False, False, True]))
    def restore_or_lose_a_secret(self, which: int, for_good: bool) -> None:
        """A CA is restored in any case: what to do without one is no matter of the engine."""
        self._play("restore")
        name = self._deleted()[which % len(self._deleted())]
        if for_good and name not in AUTHORITIES:
            self.world.pass_seconds(7 * 86400)
            self.world.runs[:] = [it for it in self.world.runs if it.secret != name]
            self.world.secrets.lose(name)
        else:
            self.world.operator(self.world.secrets.restore_secret, SecretId=name)
