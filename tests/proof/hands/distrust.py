"""What operators take out of the truststore at once, and let in again."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from mtls_rotation.contract.layout import DISTRUSTED_ANCHORS, TRUSTSTORE, distrusted_anchor_key
from mtls_rotation.pki import bundles
from mtls_rotation.pki import certificates as pki
from tests.proof.hands.player import WHICH, Player
from tests.proof.world import AUTHORITIES, DEFINITIONS

# With more, little is left of which anything is claimed.
_MOST = 2


class Distrusts(Player):
    """Who may write to `anchors/distrusted/`."""

    @precondition(lambda self: len(self.world.distrusted()) < _MOST)
    @rule(which=WHICH, content=st.sampled_from(["itself", "nothing", "rubbish"]))
    def distrust_an_anchor(self, which: int, content: str) -> None:
        """Any that is published, our own CA among them, and the last one, too."""
        self._play("distrust")
        newest = self.world.s3.newest(TRUSTSTORE)
        published = bundles.certificates(newest.body or b"") if newest else {}
        if published:
            # Played again, a history has other keys, so other fingerprints.
            in_order = sorted(published, key=lambda it: (_name(published[it]), published[it].not_valid_before_utc))
            named = in_order[which % len(in_order)]
            body = {"itself": pki.to_pem(published[named]), "nothing": "", "rubbish": "[]"}[content]
            self.world.distrust(named, body)

    @precondition(lambda self: self.world.distrusted())
    @rule(which=WHICH)
    def trust_it_again(self, which: int) -> None:
        self._play("trust again")
        named = self.world.distrusted()
        self.world.trust_again(named[which % len(named)])

    @precondition(lambda self: self.world.distrusted())
    @rule(which=WHICH)
    def write_over_what_distrusts(self, which: int) -> None:
        """It stands all the same."""
        self._play("write over a distrust")
        named = self.world.distrusted()
        self.world.upload(distrusted_anchor_key(named[which % len(named)]), b"[]")

    @rule()
    def distrust_by_an_odd_name(self) -> None:
        """It takes nothing out."""
        self._play("distrust by an odd name")
        self.world.upload(f"{DISTRUSTED_ANCHORS}{'A' * 64}.pem", b"")

    @rule(which=WHICH)
    def replace_a_ca_whose_key_was_stolen(self, which: int) -> None:
        """As `mtlsctl rotate --all --ca` does: another CA, then all that hangs on it; then the former is distrusted."""
        self._play("replace a CA")
        authorities = [it for it in AUTHORITIES if it in self.world.names()]
        if not authorities or len(self.world.distrusted()) >= _MOST:
            return
        name = authorities[which % len(authorities)]
        former = self.world.anchors_of(name)
        if not self.world.rotate_through(name):
            return
        self.world.end_notice(name)
        moved = [
            self.world.rotate_through(it)
            for it in self.world.names()
            if DEFINITIONS[it]["issuer"].get("ca_secret") == name
        ]
        now = self.world.anchors_of(name)
        if all(moved):
            for key in sorted(former - now):
                self.world.distrust(key, "")


def _name(certificate: x509.Certificate) -> str:
    """The common name: a CA's whole subject holds a part of its serial number."""
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
