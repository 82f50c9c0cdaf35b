"""Notices of revocation, and the list that is made of them."""

from __future__ import annotations

import json

from cryptography import x509
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from mtls_rotation.contract import layout
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.distinguished_names import rfc4514
from mtls_rotation.revocation import notices
from tests.kit import builders
from tests.proof.hands.player import CALLS, WHICH, Player
from tests.proof.quick_aws import CURRENT, PENDING, PREVIOUS
from tests.proof.world import AUTHORITIES

# What is no notice, or none that names anybody for certain.
NOTHING = {
    "empty": b"",
    "an empty list": b"[]",
    "garbage": b"\xff\x00garbage",
    "a nobody": b'{"issuer": "CN=Nobody", "serial_number": "5e01"}',
    "a name without end": json.dumps({"issuer": ",".join(["O=a"] * 200), "serial_number": "5e01"}).encode(),
    "huge": b"[" + b" " * notices.LARGEST_NOTICE + b"]",
    "too many": json.dumps([{"issuer": "CN=CA", "serial_number": f"{it:x}"} for it in range(1, 1002)]).encode(),
}


class Revocations(Player):
    """Who may write to `revoked/`, and who writes over the list."""

    @rule(
        which=WHICH,
        label=st.sampled_from([CURRENT, PENDING, PREVIOUS]),
        form=st.sampled_from(["PEM", "JSON", "by name"]),
        number=st.integers(0, 1),
        calls=CALLS,
    )
    def revoke(self, which: int, label: str, form: str, number: int, calls: int | None) -> None:
        """A notice is uploaded, in the place of another perhaps, and revocation runs."""
        self._play("revoke")
        if certificate := self._certificate(which, label):
            named = {"issuer": rfc4514(certificate.issuer), "serial_number": pki.serial(certificate)}
            bodies = {"JSON": {"certificate": pki.to_pem(certificate)}, "by name": named}
            body = json.dumps(bodies[form]) if form in bodies else pki.to_pem(certificate)
            self.world.notify(self._notice(number), body.encode(), certificate)
        self._go(self.world.start_revocation(), calls)

    @rule(which=WHICH, number=st.integers(0, 1), issuer=st.sampled_from(["CN=Nobody", "another of ours"]), calls=CALLS)
    def revoke_by_a_wrong_issuer(self, which: int, number: int, issuer: str, calls: int | None) -> None:
        """A serial number of ours, under the name of who has not given it out."""
        self._play("wrong issuer")
        if certificate := self._certificate(which, CURRENT):
            others = [it for it in self._authorities() if it.subject != certificate.issuer]
            name = rfc4514(others[0].subject) if others and issuer == "another of ours" else "CN=Nobody"
            body = json.dumps({"issuer": name, "serial_number": pki.serial(certificate)})
            self.world.notify(self._notice(number), body.encode())
        self._go(self.world.start_revocation(), calls)

    @rule(which=WHICH, number=st.integers(0, 1), calls=CALLS)
    def revoke_a_namesakes(self, which: int, number: int, calls: int | None) -> None:
        """What a CA of the same name has signed, under the same serial number."""
        self._play("namesake")
        certificate = self._certificate(which, CURRENT)
        issuers = [it for it in self._authorities() if certificate and it.subject == certificate.issuer]
        if certificate and issuers:
            namesake = builders.named(issuers[0].subject)
            theirs = builders.foreign(
                issuer=namesake.certificate,
                signer=namesake.key,
                serial_number=certificate.serial_number,
                authority=False,
            )
            self.world.notify(self._notice(number), pki.to_pem(theirs).encode(), theirs)
        self._go(self.world.start_revocation(), calls)

    @rule(number=st.integers(0, 1), what=st.sampled_from(sorted(NOTHING)), calls=CALLS)
    def upload_what_is_no_notice(self, number: int, what: str, calls: int | None) -> None:
        """Over a notice that is there, perhaps."""
        self._play("no notice")
        self.world.notify(self._notice(number), NOTHING[what])
        self._go(self.world.start_revocation(), calls)

    @rule(number=st.integers(0, 1), calls=CALLS)
    def delete_a_notice(self, number: int, calls: int | None) -> None:
        self._play("delete a notice")
        self.world.withdraw(self._notice(number))
        self._go(self.world.start_revocation(), calls)

    @precondition(lambda self: self.world.s3.newest(layout.REVOCATION_LIST))
    @rule(how=st.sampled_from(["deleted", "garbage", "the notes too"]), calls=CALLS)
    def lose_the_list(self, how: str, calls: int | None) -> None:
        """It is deleted or written over, and so is what revocation remembers, perhaps; then revocation runs."""
        self._play("lose the list")
        self.world.lose_the_list(None if how == "deleted" else b"garbage", notes_too=how == "the notes too")
        self._go(self.world.start_revocation(), calls)

    def _notice(self, number: int) -> str:
        return f"{layout.REVOKED}{number}"

    def _certificate(self, which: int, label: str) -> x509.Certificate | None:
        """The certificate of a client's version."""
        name = self._secret(which)
        version = self.world.quick_secrets.record(name).at(label)
        pem = self.world.value(version, name).get("certificate")
        return x509.load_pem_x509_certificate(pem.encode()) if pem and name not in AUTHORITIES else None

    def _authorities(self) -> list[x509.Certificate]:
        """The CAs that issue here."""
        found = []
        for name in (it for it in AUTHORITIES if it in self.world.names()):
            version = self.world.quick_secrets.record(name).at(CURRENT)
            if pem := self.world.value(version, name).get("certificate"):
                found.append(x509.load_pem_x509_certificate(pem.encode()))
        return found
