"""Values and labels that are written by hand, secrets that somebody makes and tags, and the stack that is updated."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from mtls_rotation.pki import certificates as pki
from tests.kit import builders
from tests.kit.stack import CA, CLIENT
from tests.proof.hands.player import CALLS, WHICH, Player
from tests.proof.quick_aws import CURRENT, PREVIOUS
from tests.proof.world import AUTHORITIES, DEFINITIONS

# Who may tag secrets as the stack's own gets none of these by that.
INTRUSIONS: dict[str, dict[str, Any]] = {
    "another's name": builders.client_definition(CA, request=DEFINITIONS[CLIENT]["request"]),
    "a name in no use": builders.client_definition(CA, request={"common_name": "intruder", "validity_days": 1}),
    "a CA": builders.ca_definition(request={"common_name": "CA", "validity_days": 8}),
    "a CA by our key in KMS": builders.ca_definition(
        request={"common_name": "CA", "validity_days": 8},
        issuer={"type": "kms", "key_id": "arn:aws:kms:us-east-1:123456789012:key/ours"},
        trusted_by_gateway=False,
    ),
    "its own anchor": builders.client_definition(issuer={"type": "self-signed"}),
    "a partner's CA": builders.client_definition(
        issuer={"type": "external", "ca_certificates": pki.to_pem(builders.root("Intruder").certificate)},
        trusted_by_gateway=True,
    ),
}


class Definitions(Player):
    """Who may write the value of a secret, who may make and tag secrets, and CloudFormation."""

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

    @rule(what=st.sampled_from(sorted(INTRUSIONS)))
    def make_and_tag_a_secret(self, what: str) -> None:
        """Of somebody whom the operator does not know: for another's name, or for a CA of theirs."""
        self._play("intrude")
        self.world.intrude(INTRUSIONS[what])

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
