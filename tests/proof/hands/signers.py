"""A partner who signs what is asked for."""

from __future__ import annotations

from typing import cast

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.proof.hands.player import CALLS, WHICH, Player
from tests.proof.processes import Process


class Signers(Player):
    """Who may write to `signed/`."""

    @precondition(lambda self: self.world.requests_out())
    @rule(
        which=WHICH,
        well=st.sampled_from([True, True, False]),
        days=st.sampled_from([1, 4, 400]),
        late=st.booleans(),
        beside=st.sampled_from(["", "former", "crossed"]),
    )
    def sign(self, which: int, well: bool, days: int, late: bool, beside: str) -> None:
        """The partner signs what is asked for: well or another key, for too long perhaps, days later perhaps.

        It may come with CAs that lead nowhere from tomorrow on, before those that do.
        """
        self._play("sign")
        out = self.world.requests_out()
        key = out[which % len(out)]
        self.world.sign(key, well=well, days=days, beside=beside)
        if late:
            self.world.pass_seconds(3 * 86400)

    @precondition(lambda self: self.world.uploads)
    @rule(calls=CALLS)
    def take_in_what_was_signed(self, calls: int | None) -> None:
        self._play("intake")
        self._go(cast("Process", self.world.start_intake()), calls)
