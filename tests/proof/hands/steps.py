"""Steps that somebody calls who is not Secrets Manager, and tokens that no SDK makes."""

from __future__ import annotations

from typing import cast

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from mtls_rotation.rotation.request import Step
from tests.proof.hands.player import CALLS, WHICH, Player
from tests.proof.processes import Process

# What may be a token: any 32 to 64 characters.
ODD_TOKENS = (
    "{:028d}/a/b",
    "../../{:028d}/..",
    "{:028d}.5e1.20261225T101112Z.ca.pem",
    "{:032d} $(x) 'y' \"z\" \\ %2F",
    "{:032d}=+@:?&#*~",
    "{:032d}\u0416\u6f22\U0001f600\t\n",
    "_{:031d}",
)


class Steps(Player):
    """Who may invoke the function, which AWS asks of every secret's owner, and who may start rotations."""

    @rule(which=WHICH, of=WHICH, version=st.integers(0, 12), step=st.sampled_from(Step), calls=CALLS)
    def call_a_step(self, which: int, of: int, version: int, step: Step, calls: int | None) -> None:
        """Any step, for any version that there is: early, late, again, of another secret, of none."""
        self._play("call a step")
        name, other = self._secret(which), self._secret(of)
        tokens = [*self.world.quick_secrets.record(name).versions, *self.world.quick_secrets.record(other).versions]
        token = tokens[-1 - version % len(tokens)]
        self._go(self.world.start_call(step, name, token), calls)

    @rule(which=WHICH, step=st.sampled_from([Step.TEST, Step.FINISH]), calls=CALLS, ahead=st.integers(0, 9))
    def call_a_step_for_what_is_pending(self, which: int, step: Step, calls: int | None, ahead: int) -> None:
        """The test and the end of what a rotation has just begun, while or before the gateway comes to trust it."""
        self._play("call a step early")
        name = self._secret(which)
        self.world.secrets.enable_rotation(name)
        self.world.operator(self.world.secrets.rotate_secret, SecretId=name)
        run = next((it for it in reversed(self.world.runs) if it.secret == name), None)
        if run is None:
            return
        self._go(run.process or self.world.start_step(run), None)
        if ahead and run in self.world.runs:
            self._go(self.world.start_step(run), ahead)
        if name in self.world.names():
            self._go(self.world.start_call(step, name, run.token), calls)

    @rule(
        which=WHICH,
        seconds=st.sampled_from([200, 86400, 3 * 86400, 12 * 86400]),
        meanwhile=st.integers(-1, 6),
        calls=CALLS,
    )
    def end_a_tested_rotation_late(self, which: int, seconds: int, meanwhile: int, calls: int | None) -> None:
        """CancelRotateSecret after the test, and somebody calls finishSecret days later, when much has changed."""
        self._play("end late")
        name = self._secret(which)
        self.world.secrets.enable_rotation(name)
        self.world.operator(self.world.secrets.rotate_secret, SecretId=name)
        run = next((it for it in reversed(self.world.runs) if it.secret == name), None)
        if run is None or run.process:
            return
        while run in self.world.runs and list(Step)[run.step] is not Step.FINISH:
            self._go(self.world.start_step(run), None)
        if run not in self.world.runs:
            return
        self.world.runs[:] = [it for it in self.world.runs if it is not run]
        others = [it for it in self.world.names() if it != name]
        if meanwhile >= 0 and others:
            self.world.rotate_through(others[meanwhile % len(others)])
        self.world.pass_seconds(seconds)
        if name in self.world.names():
            self._go(self.world.start_call(Step.FINISH, name, run.token), calls)

    @rule(which=WHICH, form=st.sampled_from(ODD_TOKENS), through=st.booleans())
    def rotate_by_an_odd_token(self, which: int, form: str, through: bool) -> None:
        """RotateSecret with --client-request-token."""
        self._play("odd token")
        name, token = self._secret(which), form.format(int(self.world.new_token()[:8]))
        self.world.secrets.enable_rotation(name)
        self.world.operator(self.world.secrets.rotate_secret, SecretId=name, ClientRequestToken=token)
        for run in [it for it in self.world.runs if it.secret == name and through and it.process is None]:
            self.world.walk(run)

    @precondition(lambda self: self.world.requests_out())
    @rule(which=WHICH, calls=CALLS)
    def sign_as_a_stranger(self, which: int, calls: int | None) -> None:
        """Whoever may write to `signed/` signs what the partner is asked for, with a CA of theirs."""
        self._play("sign as a stranger")
        out = self.world.requests_out()
        self.world.sign(out[which % len(out)], stranger=True)
        self._go(cast("Process", self.world.start_intake()), calls)
