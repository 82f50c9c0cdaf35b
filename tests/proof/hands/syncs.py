"""The sync, its events, and those who set a domain back."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.kit.stack import DOMAIN
from tests.proof.hands.player import CALLS, WHICH
from tests.proof.hands.uploads import Uploads
from tests.proof.world import SECOND_DOMAIN


class Syncs(Uploads):
    """The queue, and who may update a domain."""

    @rule(calls=CALLS, repeat=st.booleans(), data=st.data())
    def sync(self, calls: int | None, repeat: bool, data: st.DataObject) -> None:
        """The sync, with any of the events, in any order; they may come again. Beside one that runs, perhaps."""
        self._play("sync")
        queue = self.world.queue
        order = data.draw(st.lists(st.integers(0, min(len(queue), 4) - 1), unique=True)) if queue else []
        self._go(self.world.start_sync([queue[it] for it in order], repeat=repeat), calls)

    @rule(which=WHICH, calls=st.integers(6, 24), moment=st.integers(0, 1))
    def overtake_a_sync(self, which: int, calls: int, moment: int) -> None:
        """One that has something to publish stops on its way; others publish and deploy meanwhile; it goes on."""
        self._play("overtake a sync")
        self.upload_a_bundle(2, "good")
        self.world.pass_seconds(31)
        process = self.world.start_sync(self.world.queue)
        self._go(process, calls)
        self.world.rotate_through(self._secret(which))
        self.world.pass_seconds(31 * moment)
        if not process.is_over():
            self._go(process, None)

    @rule()
    def sync_until_nothing_is_left(self) -> None:
        self._play("sync through")
        self.world.deliver_all()

    @precondition(lambda self: self.world.queue)
    @rule(which=WHICH)
    def lose_events(self, which: int) -> None:
        """Some never come."""
        self._play("lose events")
        del self.world.queue[which % len(self.world.queue) :]

    @rule(which=WHICH, second=st.booleans())
    def set_a_domain_back(self, which: int, second: bool) -> None:
        """Somebody sets a domain to an older truststore."""
        self._play("set a domain back")
        name = SECOND_DOMAIN if second and SECOND_DOMAIN in self.world.gateway.domains else DOMAIN
        self.world.set_back(name, which)
