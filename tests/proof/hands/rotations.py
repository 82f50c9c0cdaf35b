"""Rotations that are begun, run, repeated, and taken back."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.proof.hands.player import CALLS, WHICH, Player
from tests.proof.quick_aws import PENDING
from tests.proof.world import AUTHORITIES, Run


class Rotations(Player):
    """Secrets Manager, and who starts its rotations."""

    @rule(which=WHICH)
    def rotate_secret(self, which: int) -> None:
        """RotateSecret. An unfinished rotation is taken up again with its token."""
        self._play("rotate")
        name = self._secret(which)
        self.world.secrets.enable_rotation(name)
        self.world.operator(self.world.secrets.rotate_secret, SecretId=name)

    @precondition(lambda self: self.world.runs)
    @rule(which=WHICH, calls=CALLS)
    def take_a_step(self, which: int, calls: int | None) -> None:
        """Secrets Manager invokes the next step, or the one under way goes on for some calls."""
        self._play("step")
        run = self._run(which)
        self._go(run.process or self.world.start_step(run), calls)

    @precondition(lambda self: self.world.runs)
    @rule(which=WHICH, ahead=st.integers(1, 9), calls=CALLS)
    def take_the_same_step_twice(self, which: int, ahead: int, calls: int | None) -> None:
        """The same step of the same version, at once: an event that came twice, or a retry of one that seemed dead."""
        self._play("same step twice")
        run = self._run(which)
        twin = Run(run.secret, run.token, run.step)
        self.world.runs.append(twin)
        process = run.process or self.world.start_step(run)
        self._go(process, ahead)
        self._go(self.world.start_step(twin), calls)

    @rule(which=WHICH, times=st.integers(1, 3))
    def rotate_all_through(self, which: int, times: int) -> None:
        """Whole rotations, one after the other."""
        self._play("rotate through")
        for _ in range(times):
            self.world.rotate_through(self._secret(which))

    @rule(times=st.integers(1, 2))
    def rotate_everything(self, times: int) -> None:
        """The CAs first, then whatever chains to them."""
        self._play("rotate everything")
        for name in sorted(self.world.names(), key=lambda it: it not in AUTHORITIES):
            for _ in range(1 if name in AUTHORITIES else times):
                self.world.rotate_through(name)

    @rule(which=WHICH, off=st.booleans(), forget=st.booleans())
    def cancel(self, which: int, off: bool, forget: bool) -> None:
        """AWSPENDING is taken off by hand, rotation perhaps switched off. What is under way may go on all the same."""
        self._play("cancel")
        name = self._secret(which)
        record = self.world.quick_secrets.record(name)
        if pending := record.at(PENDING):
            more = {"VersionStage": PENDING, "RemoveFromVersionId": pending}
            self.world.operator(self.world.secrets.update_secret_version_stage, SecretId=name, **more)
        if off:
            self.world.secrets.enable_rotation(name, enabled=False)
        if forget:
            self.world.runs[:] = [it for it in self.world.runs if it.secret != name or it.process]
