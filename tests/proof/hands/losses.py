"""What is lost, written over and brought back: objects of the bucket, tags, versions, secrets."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from mtls_rotation.contract import layout
from tests.proof.hands.player import WHICH, Player
from tests.proof.world import AUTHORITIES

# What is lost by hand. `revoked/`, `anchors/static/` and the like are the operators' own word.
PREFIXES = st.sampled_from(
    [
        "",
        layout.MANAGED_ANCHORS,
        layout.ISSUED,
        layout.ISSUED,
        layout.OUTSIDE,
        layout.SYNC_NOTES,
        layout.TRUSTSTORE,
        layout.explanation_key(layout.TRUSTSTORE),
    ]
)


class Losses(Player):
    """Who may delete."""

    @rule()
    def lose_the_notes(self) -> None:
        """`state/sync.json` may be deleted at any time."""
        self._play("lose the notes")
        self.world.s3.delete_object(Bucket="certificates", Key=layout.SYNC_NOTES)
        self.world.unsure()

    @rule(which=st.integers(0, 40), prefix=PREFIXES)
    def lose_an_object(self, which: int, prefix: str) -> None:
        """One object of the index or the notes, or the truststore itself, is deleted by hand."""
        if keys := self.world.keys_under(prefix):
            self._play("lose an object")
            self.world.lose(keys[which % len(keys)])

    @rule(prefix=PREFIXES)
    def lose_a_prefix(self, prefix: str) -> None:
        """All of a prefix, or the whole bucket: a script that cleans up."""
        self._play("lose a prefix")
        for key in self.world.keys_under(prefix):
            self.world.lose(key)

    @rule(which=st.integers(0, 40), prefix=PREFIXES)
    def write_over_an_object(self, which: int, prefix: str) -> None:
        """Garbage, under a key that was there."""
        if keys := self.world.keys_under(prefix):
            self._play("write over an object")
            self.world.write_over(keys[which % len(keys)], b"garbage")

    @rule(which=st.integers(0, 40), back=st.integers(0, 6), prefix=PREFIXES)
    def bring_an_object_back(self, which: int, back: int, prefix: str) -> None:
        """An older version is copied over an object, or over what was deleted, with its metadata."""
        if keys := self.world.keys_under(prefix, deleted=True):
            self._play("bring an object back")
            self.world.bring_back(keys[which % len(keys)], back)

    @rule()
    def destroy_the_truststore(self) -> None:
        """Every version of it, also that which a domain runs: the console's "Empty"."""
        self._play("destroy the truststore")
        self.world.s3.objects[layout.TRUSTSTORE].clear()

    @rule(which=WHICH, gone=st.booleans())
    def strip_a_tag(self, which: int, gone: bool) -> None:
        """The stack's tag is taken off a secret, or given back."""
        self._play("strip a tag")
        self.world.tag(self._secret(which), tagged=not gone)

    @rule(kept=st.booleans())
    def suspend_versioning(self, kept: bool) -> None:
        """The bucket keeps no versions any more, or does again."""
        self._play("suspend versioning")
        self.world.s3.versioning = "Enabled" if kept else "Suspended"

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
