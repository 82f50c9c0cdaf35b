"""Bundles of partners' CAs that are uploaded and taken away again, and what others upload to do harm."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from mtls_rotation.contract import layout
from mtls_rotation.contract.places import unread
from mtls_rotation.pki import certificates as pki
from tests.kit import builders
from tests.kit.stack import CA
from tests.proof.hands.player import WHICH, Player
from tests.proof.quick_aws import CURRENT
from tests.proof.world import BOUNDS, INTRUDERS

BEGIN = b"-----BEGIN CERTIFICATE-----\n"
BESIDE = (layout.ANCHORS, "anchor/", layout.MANAGED_ANCHORS, "anchors/statics/", "")
WITHHELD = ("InvalidObjectState", "AccessDenied", "KMS.DisabledException")


class Uploads(Player):
    """Who may write to `anchors/static/`."""

    @rule(
        number=st.integers(0, 2),
        what=st.sampled_from(["good", "short", "expired", "malformed", "ours", "intermediate"]),
    )
    def upload_a_bundle(self, number: int, what: str) -> None:
        """Good for long or a day, expired, cut off in the middle, a CA of ours, or one without the root above it."""
        self._play("upload")
        days = {"short": 1, "expired": -1}.get(what, 300)
        before, end = self.world.moment - timedelta(days=2), self.world.moment + timedelta(days=days)
        issuer, signer = None, None
        if what == "intermediate":
            issuer, signer = builders.Foreign(common_name=_root(number)).make()
        made = builders.foreign(
            common_name=f"Partner {number}", not_before=before, not_after=end, issuer=issuer, signer=signer
        )
        pem = pki.to_pem(made)
        if what == "ours":
            value = self.world.value(self.world.quick_secrets.record(CA).at(CURRENT), CA)
            pem = value.get("certificate", pem)
        text = pem[: len(pem) // 2] if what == "malformed" else pem
        self.world.s3.withheld.pop(_key(number), None)
        self.world.upload(_key(number), text.encode())

    @rule(number=st.integers(0, 2), place=st.sampled_from(BESIDE), back=st.booleans())
    def mistake_the_place(self, number: int, place: str, back: bool) -> None:
        """A bundle lies where nobody reads it; or it is moved from there, as its remedy says."""
        self._play("mistake the place")
        key = f"{place}{number}.pem"
        stray = unread(key, 1, takes_signed=True)
        assert stray
        lying = self.world.s3.newest(key)
        if back and lying and lying.body and stray.better_key:
            self.world.upload(stray.better_key, lying.body)
            self.world.remove(key)
        else:
            end = self.world.moment + timedelta(days=300)
            made = builders.foreign(common_name=f"Partner {number}", not_before=self.world.moment, not_after=end)
            self.world.upload(key, pki.to_pem(made).encode())

    @rule(number=st.integers(0, 2))
    def take_a_bundle_away(self, number: int) -> None:
        self._play("remove a bundle")
        self.world.remove(_key(number))

    # to do harm -------------------------------------------------------------------------------------------------------

    @rule(which=WHICH, identifier=st.sampled_from(["the same", "none", "another", "cross-signed"]), height=WHICH)
    def upload_a_twin(self, which: int, identifier: str, height: int) -> None:
        """A CA of the name that a CA of ours has, or a partner's: servers may take one for the other."""
        self._play("twin")
        if other := self._somebodys(which, height):
            self._upload_to_harm("twin", pki.to_pem(*_twin(other, identifier)).encode())

    @rule(which=WHICH, identifier=st.sampled_from(["the same", "none", "another"]), height=WHICH)
    def write_a_twin_into_the_truststore(self, which: int, identifier: str, height: int) -> None:
        """By hand, with a right to the whole bucket: it does not stay for an overlap."""
        self._play("twin by hand")
        found = self.world.s3.newest(layout.TRUSTSTORE)
        other = self._somebodys(which, height)
        if found and found.body and other:
            body = found.body + pki.to_pem(*_twin(other, identifier)).encode()
            self.world.s3.put_object(Bucket="certificates", Key=layout.TRUSTSTORE, Body=body)

    @rule(what=st.sampled_from(["for as many", "for servers", "shorter"]))
    def upload_a_former_of_our_ca(self, what: str) -> None:
        """As an operator may have it from before CAs had a generation: its key has signed it, for as many or fewer."""
        self._play("former")
        version = self.world.quick_secrets.record(CA).at(CURRENT)
        held = self.world.held(CA, version) if version else None
        pem = self.world.value(version, CA).get("private_key") if version else None
        if held is None or not pem or held.certificate.issuer != held.certificate.subject:
            return
        key = pki.key_from_pem(pem)
        made = builders.foreign(
            subject=held.certificate.subject,
            key=key,
            usages=(ExtendedKeyUsageOID.SERVER_AUTH,) if what == "for servers" else (),
            not_before=self.world.moment - timedelta(days=2),
            not_after=self.world.moment + timedelta(days=1 if what == "shorter" else 300),
        )
        self._upload_to_harm("former", pki.to_pem(made).encode())

    @rule(most=st.sampled_from([1, BOUNDS.blocks]))
    def renew_a_ca_again_and_again(self, most: int) -> None:
        """One name, one key, and so many certificates."""
        self._play("renewed")
        self._upload_to_harm("renewed", pki.to_pem(*_renewed()[:most]).encode())

    @rule(number=st.integers(0, 2))
    def forge_a_chain_by_name(self, number: int) -> None:
        """Five certificates that lead by name above a partner's intermediate."""
        self._play("forged chain")
        chain, keys = builders.authorities_with_keys(4)
        last = builders.foreign(common_name=_root(number), issuer=chain[-1], signer=keys[-1])
        self._upload_to_harm("chain", pki.to_pem(*chain, last).encode())

    @rule(bundles=st.integers(1, 5), each=st.sampled_from([1, BOUNDS.blocks]))
    def flood(self, bundles: int, each: int) -> None:
        """Many CAs, in one bundle or in many."""
        self._play("flood")
        for number in range(bundles):
            some = _many()[number * each : (number + 1) * each]
            self._upload_to_harm(f"flood-{number}", pki.to_pem(*some).encode())

    @rule(objects=st.sampled_from([1, BOUNDS.listed + 2]), lines=st.sampled_from([1, 100]))
    def storm(self, objects: int, lines: int) -> None:
        """What is no certificate, by the line and by the object."""
        self._play("storm")
        for number in range(objects):
            self._upload_to_harm(f"storm-{number:02}", BEGIN * lines)

    @rule(number=st.integers(0, 3), why=st.sampled_from(WITHHELD))
    def upload_what_cannot_be_read(self, number: int, why: str) -> None:
        """To an archive tier, or under a key that nobody else may use; by a partner, by mistake, or to do harm."""
        self._play("unreadable")
        key = _key(number) if number < 3 else f"{INTRUDERS}unreadable"
        self.world.upload(key, pki.to_pem(builders.foreign(common_name=f"Partner {number}")).encode())
        self.world.s3.withheld[key] = why

    @precondition(lambda self: self.world.s3.withheld)
    @rule(which=WHICH)
    def have_it_readable_again(self, which: int) -> None:
        """Restored, or let use the key: nothing is uploaded anew."""
        self._play("readable again")
        keys = sorted(self.world.s3.withheld)
        del self.world.s3.withheld[keys[which % len(keys)]]

    @rule()
    def clear_away_what_does_harm(self) -> None:
        self._play("clear away")
        for key in [it for it in self.world.s3.objects if it.startswith(INTRUDERS)]:
            self.world.remove(key)
            self.world.s3.withheld.pop(key, None)

    def _upload_to_harm(self, name: str, body: bytes) -> None:
        self.world.s3.withheld.pop(f"{INTRUDERS}{name}", None)
        self.world.upload(f"{INTRUDERS}{name}", body)

    def _somebodys(self, which: int, height: int) -> x509.Certificate | None:
        """A CA that a secret's certificate chains to, at some height, or one that a partner has uploaded."""
        names = self.world.names()
        if which >= len(names):
            found = list(self.world.partners().values())
        else:
            name = names[which]
            version = self.world.quick_secrets.record(name).at(CURRENT)
            held = self.world.held(name, version) if version else None
            found = [*held.chain, held.anchor] if held else []
        return found[height % len(found)] if found else None


def _key(number: int) -> str:
    return f"{layout.STATIC_ANCHORS}{number}.pem"


def _root(number: int) -> str:
    return f"Root of partner {number}"


def _twin(other: x509.Certificate, identifier: str) -> list[x509.Certificate]:
    """A certificate with the name of that one, and what is above it."""
    if identifier == "cross-signed":
        top, key = builders.Foreign(common_name="Somebody").make()
        return [builders.cross_signed(other, top, key), top]
    own = other.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    return [builders.twin(other, {"the same": own, "none": None, "another": b"another"}[identifier])]


@cache
def _renewed() -> list[x509.Certificate]:
    first, key = builders.Foreign(common_name="Renewed").make()
    return [first, *(builders.foreign(common_name="Renewed", key=key) for _ in range(BOUNDS.blocks))]


@cache
def _many() -> list[x509.Certificate]:
    return [builders.foreign(common_name=f"Many {number}") for number in range(5 * BOUNDS.blocks)]
