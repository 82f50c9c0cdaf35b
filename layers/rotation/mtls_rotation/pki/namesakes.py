"""Which certificates a server may take for another, since it goes by names before it goes by keys. Pure.

OpenSSL looks an issuer up by its name and, where both have one, its key identifier. It takes one that fits and tries no
other, even if that one has not signed (`X509_STORE_CTX_get1_issuer`, `X509_check_issued`:
https://docs.openssl.org/3.0/man1/openssl-verification-options/#certification-path-building). So an anchor with the name
of another shuts the other's clients out, unless key identifiers tell the two apart. A key identifier is what its maker
wrote (RFC 5280, section 4.2.1.2): it need not come from the key.

However many certificates there are of one name, to look one up takes the same few steps.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Self

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_rotation.pki.certificates import public_key_fingerprint
from mtls_rotation.pki.signatures import comparable, signed_by, signed_with_key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# What a CA's certificate may say without narrowing what is below it, or what is compared otherwise.
_COMPARED = (
    x509.BasicConstraints,
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.SubjectAlternativeName,
    x509.CertificatePolicies,
)
_NARROWING = (x509.NameConstraints, x509.PolicyConstraints, x509.InhibitAnyPolicy)


class Namesakes:
    """Anchors, among which it is looked up which a server may take for a further one."""

    def __init__(self, anchors: Iterable[x509.Certificate] = ()) -> None:
        self._named: dict[tuple[bytes, ...], _Name] = {}
        for anchor in anchors:
            self.add(anchor)

    def add(self, anchor: x509.Certificate) -> None:
        """Have it looked at from now on."""
        self._named.setdefault(_read(anchor).name, _Name()).add(_read(anchor))

    def harmed_by(self, certificate: x509.Certificate) -> x509.Certificate | None:
        """An anchor whose clients a server may refuse once it has this certificate as well; None if there is none.

        Two that the holder of one key has made carry the same clients, unless this one is for fewer of them.
        """
        alike = self._named.get(_read(certificate).name)
        return alike.harmed_by(_read(certificate)) if alike else None

    def harming(self, certificate: x509.Certificate) -> x509.Certificate | None:
        """An anchor because of which a server may refuse clients of this certificate; None if there is none."""
        alike = self._named.get(_read(certificate).name)
        return alike.harming(_read(certificate)) if alike else None

    def of_one_key(self, certificate: x509.Certificate) -> int:
        """How many there are with its name and its key."""
        alike = self._named.get(_read(certificate).name)
        hand = alike and alike.hands.get(_read(certificate).key)
        return hand.count if hand else 0


class Issued[T]:
    """Certificates by the issuer that they name, among which it is looked up which an anchor may be mistaken for.

    A certificate has been signed by one key alone. So what is looked at grows with the certificates and the anchors.
    """

    def __init__(self) -> None:
        self._named: dict[tuple[bytes, ...], ByIdentifier[_Batch[T]]] = defaultdict(lambda: ByIdentifier(_Batch))

    def add(self, certificate: x509.Certificate, of: T) -> None:
        """Have it looked at from now on.

        Args:
            certificate: what an issuer is looked up for.
            of: what stands for it in answers.
        """
        for batch in self._named[comparable(certificate.issuer)].to_add_to(authority_key_identifier(certificate)):
            batch.entries.append((certificate, of))

    def mistaken_for(self, anchor: x509.Certificate) -> T | None:
        """One that a server may take to be issued by this anchor, which has not signed it; None if there is none."""
        named = self._named.get(_read(anchor).name)
        if named is None:
            return None
        found = (it.not_signed_by(anchor) for it in named.not_contradicting(_read(anchor).identifier))
        return next((it for it in found if it is not None), None)


def key_identifier(certificate: x509.Certificate) -> bytes | None:
    """The subject key identifier; None where there is none."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None


def authority_key_identifier(certificate: x509.Certificate) -> bytes | None:
    """How it names its issuer's key; None where it does not."""
    try:
        return certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return None


class ByIdentifier[C]:
    """Collections by key identifier, and one of all."""

    def __init__(self, make: Callable[[], C]) -> None:
        self._some: dict[bytes | None, C] = defaultdict(make)
        self._all = make()

    def to_add_to(self, identifier: bytes | None) -> tuple[C, C]:
        """Those into which something with this identifier goes."""
        return self._some[identifier], self._all

    def not_contradicting(self, identifier: bytes | None) -> Iterable[C]:
        """Those of which no identifier tells that a server is not to take one for the other."""
        if identifier is None:
            return (self._all,)
        return [self._some[it] for it in (identifier, None) if it in self._some]


@dataclass(slots=True)
class _Batch[T]:
    """Certificates that name one issuer.

    Attributes:
        signed: by key, how many of them from the first on it has signed.
    """

    entries: list[tuple[x509.Certificate, T]] = field(default_factory=list)
    signed: dict[str, int] = field(default_factory=dict)

    def not_signed_by(self, anchor: x509.Certificate) -> T | None:
        key = _read(anchor).key
        number = self.signed.get(key, 0)
        while number < len(self.entries) and signed_with_key_of(self.entries[number][0], anchor):
            number += 1
        self.signed[key] = number
        return self.entries[number][1] if number < len(self.entries) else None


class _Name:
    """The anchors of one name.

    Attributes:
        hands: by key.
    """

    def __init__(self) -> None:
        self.hands: dict[str, _Hand] = defaultdict(_Hand)
        self._keys = ByIdentifier[dict[str, _Read]](dict)

    def add(self, it: _Read) -> None:
        self.hands[it.key].add(it)
        for keys in self._keys.to_add_to(it.identifier):
            keys.setdefault(it.key, it)

    def harmed_by(self, it: _Read) -> x509.Certificate | None:
        hand = self.hands.get(it.key)
        return self._of_another_key(it) or (hand.harmed_by(it) if hand else None)

    def harming(self, it: _Read) -> x509.Certificate | None:
        hand = self.hands.get(it.key)
        return self._of_another_key(it) or (hand.harming(it) if hand else None)

    def _of_another_key(self, it: _Read) -> x509.Certificate | None:
        for keys in self._keys.not_contradicting(it.identifier):
            if other := next((other for key, other in keys.items() if key != it.key), None):
                return other.certificate
        return None


class _Hand:
    """The anchors of one name and one key. Anybody can certify a key that is another's; whoever holds it signs itself.

    Attributes:
        count: how many there are.
    """

    def __init__(self) -> None:
        self.count = 0
        # Of two, one at least is another than the one that is asked about.
        self._some: list[_Read] = []
        self._by_others: list[_Read] = []
        self._tightest: _Bounds | None = None
        self._loosest: _Bounds | None = None
        self._new: list[_Read] = []

    def add(self, it: _Read) -> None:
        self.count += 1
        self._new.append(it)
        if len(self._some) < 2:
            self._some.append(it)

    def harmed_by(self, it: _Read) -> x509.Certificate | None:
        other = _other_than(it, self._some)
        if other is None or (harm := self._by_another(it)):
            return other and harm
        return other if self._loosest and it.bounds.are_tighter_than(self._loosest) else None

    def harming(self, it: _Read) -> x509.Certificate | None:
        other = _other_than(it, self._some)
        if other is None or (harm := self._by_another(it)):
            return other and harm
        return other if self._tightest and self._tightest.are_tighter_than(it.bounds) else None

    def _by_another(self, it: _Read) -> x509.Certificate | None:
        """One whose key another has certified; any where that is so of `it`."""
        for one in self._new:
            if one.signs_itself:
                self._tightest = one.bounds.tighter(self._tightest)
                self._loosest = one.bounds.looser(self._loosest)
            elif len(self._by_others) < 2:
                self._by_others.append(one)
        self._new.clear()
        return _other_than(it, self._by_others if it.signs_itself else self._some)


def _other_than(it: _Read, some: Iterable[_Read]) -> x509.Certificate | None:
    return next((other.certificate for other in some if other.certificate != it.certificate), None)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """For whom a certificate stands as an anchor.

    Attributes:
        path_length: how many CAs may be below it; less than none where it is no CA.
        uses: what its key may be used for, of what servers look at.
        constraints: what narrows it otherwise.
    """

    path_length: float
    uses: frozenset[str]
    constraints: frozenset[tuple[x509.ObjectIdentifier, x509.ExtensionType]]

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Self:
        length = -1.0
        usage: x509.KeyUsage | None = None
        purposes: x509.ExtendedKeyUsage | None = None
        constraints = set()
        for extension in certificate.extensions:
            value = extension.value
            if isinstance(value, x509.BasicConstraints) and value.ca:
                length = math.inf if value.path_length is None else value.path_length
            elif isinstance(value, x509.KeyUsage):
                usage = value
            elif isinstance(value, x509.ExtendedKeyUsage):
                purposes = value
            elif isinstance(value, _NARROWING) or (extension.critical and not isinstance(value, _COMPARED)):
                constraints.add((extension.oid, value))
        uses = {
            "certificates": usage is None or usage.key_cert_sign,
            "lists": usage is None or usage.crl_sign,
            "handshakes": length >= 0 or usage is None or usage.digital_signature,
            "clients": purposes is None or ExtendedKeyUsageOID.CLIENT_AUTH in purposes,
        }
        return cls(length, frozenset(it for it, allowed in uses.items() if allowed), frozenset(constraints))

    def are_tighter_than(self, other: _Bounds) -> bool:
        """Whether there may be a client for whom the other stands and this does not."""
        if self.path_length < other.path_length:
            return True
        return not (self.uses >= other.uses and self.constraints <= other.constraints)

    def tighter(self, other: _Bounds | None) -> _Bounds:
        """What both stand for."""
        if other is None:
            return self
        length = min(self.path_length, other.path_length)
        return _Bounds(length, self.uses & other.uses, self.constraints | other.constraints)

    def looser(self, other: _Bounds | None) -> _Bounds:
        """What either stands for, at least."""
        if other is None:
            return self
        length = max(self.path_length, other.path_length)
        return _Bounds(length, self.uses | other.uses, self.constraints & other.constraints)


@dataclass(frozen=True)
class _Read:
    """A certificate with what is looked at, each read once.

    Attributes:
        key: what tells its public key from others.
    """

    certificate: x509.Certificate
    name: tuple[bytes, ...]
    identifier: bytes | None
    key: str

    @cached_property
    def signs_itself(self) -> bool:
        return signed_by(self.certificate, self.certificate)

    @cached_property
    def bounds(self) -> _Bounds:
        return _Bounds.of(self.certificate)


@lru_cache(maxsize=2_000)
def _read(certificate: x509.Certificate) -> _Read:
    return _Read(
        certificate,
        comparable(certificate.subject),
        key_identifier(certificate),
        public_key_fingerprint(certificate.public_key()),
    )
