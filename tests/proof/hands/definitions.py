"""Values and labels that are written by hand, and the stack that is updated."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.kit.stack import CA, CLIENT
from tests.proof.hands.player import CALLS, WHICH, Player
from tests.proof.quick_aws import CURRENT, PREVIOUS
from tests.proof.world import AUTHORITIES, DEFINITIONS


class Definitions(Player):
    """Who may write the value of a secret, and CloudFormation."""

    @rule(which=WHICH, what=st.sampled_from(["carry over", "carry over", "validity", "bare"]))
    def edit_by_hand(self, which: int, what: str) -> None:
        """A new value: with the certificate carried over, with another validity, or a bare definition of a client."""
        self._play("edit")
        name = self._secret(which)
        value = self.world.value(self.world.quick_secrets.record(name).at(CURRENT), name) | {"note": what}
        if what == "bare" and name not in AUTHORITIES:
            value = dict(DEFINITIONS[name])
        elif what == "validity" and name not in AUTHORITIES:
            value["request"] = {"common_name": value["request"]["common_name"], "validity_hours": 20}
        self.world.put_by_hand(name, value)

    @rule(which=WHICH)
    def roll_back(self, which: int) -> None:
        """AWSPREVIOUS is made AWSCURRENT by hand, of clients and of CAs."""
        self._play("roll back")
        name = self._secret(which)
        record = self.world.quick_secrets.record(name)
        if (current := record.at(CURRENT)) and (previous := record.at(PREVIOUS)):
            more = {"VersionStage": CURRENT, "RemoveFromVersionId": current, "MoveToVersionId": previous}
            self.world.operator(self.world.secrets.update_secret_version_stage, SecretId=name, **more)

    @rule(days=st.sampled_from([1, 2, 3]), calls=CALLS)
    def update_the_stack(self, days: int, calls: int | None) -> None:
        """CloudFormation brings the client's definition in line with the template, and so syncs."""
        self._play("update the stack")
        if {CA, CLIENT} <= set(self.world.names()):
            self._go(self.world.start_bootstrap(self.world.new_token(), days), calls)
