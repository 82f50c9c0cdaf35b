"""What an operator takes out of the truststore at once, whatever holds it: who says so, and who is refused by it. Pure.

An object `anchors/distrusted/<sha256>` names a certificate by its fingerprint. Whoever has that CA's key has it for
every certificate of the key, so all of these are taken out: a renewed one, a cross-signed one, one by another name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from cryptography import x509

from mtls_rotation.contract.layout import DISTRUSTED_ANCHORS, distrusted_anchor
from mtls_rotation.pki.bundles import Unreadable, by_fingerprint
from mtls_rotation.pki.certificates import fingerprint, public_key_fingerprint
from mtls_rotation.truststore.observation import DistrustEntry, Observation


def read(key: str, content: Iterable[x509.Certificate | Unreadable]) -> DistrustEntry:
    """What an object under `anchors/distrusted/` says.

    Its name counts, whatever its content is: neither what is written over it nor what keeps it from being read has the
    certificate trusted again. The content tells the certificate's key once no other object holds it any more.

    Args:
        key: of the object.
        content: what is in it.
    """
    named = distrusted_anchor(key)
    if not named:
        name = key.removeprefix(DISTRUSTED_ANCHORS)[:_SHOWN]
        return DistrustEntry(key, problem=f"{name!r} is no SHA-256 fingerprint of 64 digits in lower-case hex")
    certificate = by_fingerprint(content).get(named)
    return DistrustEntry(key, named, certificate)


@dataclass(frozen=True)
class Distrust:
    """Which certificates are taken out.

    Attributes:
        entries: those that name a certificate.
        at_hand: by fingerprint, the certificates that are known otherwise: they tell the key where an entry does not.
    """

    entries: tuple[DistrustEntry, ...]
    at_hand: Mapping[str, x509.Certificate]

    @classmethod
    def among(cls, seen: Observation) -> Distrust:
        """That of an observation."""
        entries = tuple(it for it in seen.distrusted if it.fingerprint)
        if not entries:
            return cls((), {})
        uploaded = by_fingerprint(entry.content for entry in seen.static)
        return cls(entries, {**uploaded, **seen.managed, **seen.deployed})

    def object_against(self, certificate: x509.Certificate) -> str:
        """The key of the object that takes a certificate out; empty if it stays."""
        if not self.entries:
            return ""
        return self._named.get(fingerprint(certificate)) or self._keys.get(_key(certificate), "")

    def object_against_named(self, named: str) -> str:
        """As `object_against`, of the certificate with this fingerprint, which may be at hand or not."""
        certificate = self.at_hand.get(named)
        return self._named.get(named, "") if certificate is None else self.object_against(certificate)

    def among_these(self, certificates: Mapping[str, x509.Certificate]) -> dict[str, x509.Certificate]:
        """Those that are taken out."""
        return {key: it for key, it in certificates.items() if self.object_against(it)}

    @cached_property
    def _named(self) -> Mapping[str, str]:
        return {it.fingerprint: it.key for it in self.entries}

    @cached_property
    def _keys(self) -> Mapping[str, str]:
        known = ((it.key, it.certificate or self.at_hand.get(it.fingerprint)) for it in self.entries)
        return {_key(certificate): key for key, certificate in known if certificate is not None}


@dataclass(frozen=True, slots=True)
class Refused:
    """A certificate of ours that is refused once its anchors are out.

    Attributes:
        anchors: the fingerprints of those of its CAs that go.
        held: whether a label names its version, so that a client may fetch it.
        not_after: its end; None where the key of its object does not say.
    """

    secret: str
    version_id: str
    serial_number: str
    anchors: frozenset[str]
    held: bool
    not_after: datetime | None


def refused(seen: Observation) -> tuple[Refused, ...]:
    """Every certificate of a client that is filed, is not over, and chains to what is taken out; those in use first."""
    distrust = Distrust.among(seen)
    gone = {anchor for anchor in {it.anchor for it in seen.issued} if distrust.object_against_named(anchor)}
    found: dict[tuple[str, str, str], Refused] = {}
    for it in seen.issued:
        if it.authority or it.anchor not in gone or (it.not_after and it.not_after < seen.now):
            continue
        which = (it.secret, it.version_id, it.serial_number)
        before = found[which].anchors if which in found else frozenset()
        held = (it.secret, it.version_id) in seen.live
        found[which] = Refused(*which, before | {it.anchor}, held, it.not_after)
    return tuple(sorted(found.values(), key=lambda it: (not it.held, it.secret, it.version_id)))


def _key(certificate: x509.Certificate) -> str:
    return public_key_fingerprint(certificate.public_key())


# How much of a name is shown.
_SHOWN = 100
