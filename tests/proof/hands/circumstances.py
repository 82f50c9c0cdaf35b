"""What nobody chooses: time, faults, reads that lag, processes that end, endpoints that are away."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.proof.hands.player import CALLS, WHICH, Player
from tests.proof.world import DEFINITIONS

SERVICES = ("secretsmanager", "s3", "events", "apigateway")


class Circumstances(Player):
    """Time and AWS."""

    @precondition(lambda self: self.world.processes)
    @rule(which=WHICH, calls=CALLS)
    def go_on(self, which: int, calls: int | None) -> None:
        """A function that is suspended goes on."""
        self._play("interleave")
        self._go(self._process(which), calls)

    @precondition(lambda self: self.world.processes)
    @rule(which=WHICH)
    def kill(self, which: int) -> None:
        """A function is ended from outside, wherever it is."""
        self._play("kill")
        self.world.kill(self._process(which))

    @rule(seconds=st.sampled_from([1, 31, 31, 200, 600, 3700, 3700, 86400, 3 * 86400, 12 * 86400]))
    def let_time_pass(self, seconds: int) -> None:
        """Seconds, hours, days, past the end of leafs and of CAs."""
        self._play("time")
        self.world.pass_seconds(seconds)

    @rule(
        service=st.sampled_from(SERVICES),
        how=st.sampled_from(["throttled", "error", "unanswered"]),
        n=st.integers(1, 4),
    )
    def have_calls_fail(self, service: str, how: str, n: int) -> None:
        """The next calls of a service fail, before or after they have done what was asked."""
        self._play("fail")
        self.world.wire.faults[service] = [how] * n

    @rule(
        lists=st.lists(st.sampled_from([0, 60, 300]), min_size=7, max_size=7),
        reads=st.sampled_from([[0], [3], [0, 9, 0]]),
    )
    def let_reads_lag(self, lists: list[int], reads: list[int]) -> None:
        """ListSecrets shows each secret up to five minutes late; single reads are seconds late, and go back in time."""
        self._play("lag")
        names = sorted(DEFINITIONS)
        self.world.quick_secrets.list_lags = {
            name: timedelta(seconds=it) for name, it in zip(names, lists, strict=True) if it
        }
        self.world.quick_secrets.read_lags = [timedelta(seconds=it) for it in reads * 8]

    @rule(seconds=st.sampled_from([1, 8, 40, 400]))
    def have_updates_take(self, seconds: int) -> None:
        """How long a domain is UPDATING from now on."""
        self._play("busy domains")
        self.world.update_takes = timedelta(seconds=seconds)

    @rule(up=st.booleans())
    def have_the_endpoint(self, up: bool) -> None:
        self._play("endpoint")
        self.world.endpoint_up = up
