"""Chains that are drawn: a good one, and what is odd about it. By an oddity's name a difference is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from tests.kit.builders import NOW
from tests.kit.chains import CLIENT, EXPIRED, LEAF, PRINTABLE, Member, Shape, named, rsa_key

if TYPE_CHECKING:
    from random import Random

SERVER, ANY = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
FUTURE = {"not_before": NOW + timedelta(days=1), "not_after": NOW + timedelta(days=365)}


@dataclass(frozen=True)
class Case:
    """A chain to be judged.

    Attributes:
        leaf: the client's certificate.
        sent: what the client sends with it.
        trusted: the truststore, in its order.
        oddities: what is odd about it.
    """

    leaf: x509.Certificate
    sent: tuple[x509.Certificate, ...]
    trusted: tuple[x509.Certificate, ...]
    oddities: frozenset[str]


@dataclass
class Draft:
    """A chain in the making: first its shapes, the leaf's first and the root's last, then its certificates.

    Attributes:
        then: what is done when the certificates are made.
    """

    random: Random
    shapes: list[Shape]
    then: list[Callable[[], object]] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    sent: list[Member] = field(default_factory=list)
    trusted: list[Member] = field(default_factory=list)

    def change(self, place: int, **changes: object) -> None:
        self.shapes[place] = self.shapes[place].but(**changes)

    @property
    def a_ca(self) -> int:
        """The place of one of the CAs."""
        return self.random.randrange(1, len(self.shapes))

    @property
    def below_root(self) -> int:
        """The place of one that is not the root."""
        return self.random.randrange(len(self.shapes) - 1)

    def make(self) -> None:
        made = [self.shapes[-1].self_signed()]
        for shape in reversed(self.shapes[:-1]):
            made.insert(0, shape.by(made[0]))
        self.members = made
        self.sent, self.trusted = made[1:-1], made[-1:]
        for act in self.then:
            act()

    def more(self, place: int, extension: x509.ExtensionType, *, critical: bool) -> None:
        if all(it.oid != extension.oid for it, _ in self.shapes[place].more):
            self.change(place, more=(*self.shapes[place].more, (extension, critical)))


type Oddity = Callable[[Draft], object]
ODDITIES: dict[str, Oddity] = {}


def draw(random: Random) -> Case:
    """A chain with none to three oddities."""
    drafted = Draft(random, [LEAF, *(Shape(f"CA {it}") for it in range(random.choice((1, 2, 2, 3))))])
    count = random.choices((0, 1, 2, 3), (1, 6, 4, 1))[0]
    oddities = random.sample(sorted(ODDITIES), count)
    return made(drafted, oddities)


def made(draft: Draft, oddities: list[str]) -> Case:
    """The chain with these oddities."""
    for it in oddities:
        ODDITIES[it](draft)
    draft.make()
    draft.random.shuffle(draft.trusted)
    leaf, sent, trusted = draft.members[0], draft.sent, draft.trusted
    certificates = [tuple(dict.fromkeys(it.certificate for it in members)) for members in (sent, trusted)]
    return Case(leaf.certificate, certificates[0], certificates[1], frozenset(oddities))


def odd(name: str) -> Callable[[Oddity], Oddity]:
    """Have it drawn."""

    def register(oddity: Oddity) -> Oddity:
        ODDITIES[name] = oddity
        return oddity

    return register


def shape(oddity: str, place: str, **changes: object) -> None:
    """An oddity in the shape of the leaf, of a CA, of the root, or of one below it."""
    places: dict[str, Callable[[Draft], int]] = {
        "leaf": lambda _: 0,
        "a CA": lambda it: it.a_ca,
        "the root": lambda it: len(it.shapes) - 1,
        "one below the root": lambda it: it.below_root,
    }
    ODDITIES[oddity] = lambda draft: draft.change(places[place](draft), **changes)


# ages
shape("an expired leaf", "leaf", **EXPIRED)
shape("a leaf from tomorrow", "leaf", **FUTURE)
shape("an expired CA", "a CA", **EXPIRED)
shape("a CA from tomorrow", "a CA", **FUTURE)
# identifiers
shape("a CA without a subject key identifier", "a CA", identifier=b"")
shape("no authority key identifier", "one below the root", authority=b"")
shape("an authority key identifier of another key", "one below the root", authority=b"another")
# what it is for
shape("a leaf for any purpose", "leaf", purposes=(ANY,))
shape("a leaf for no stated purpose", "leaf", purposes=None)
shape("a leaf for servers", "leaf", purposes=(SERVER,))
shape("a leaf for clients and servers", "leaf", purposes=(*CLIENT, SERVER))
shape("a leaf without a key usage", "leaf", usage=None)
shape("a leaf for key agreement", "leaf", usage=("key_agreement",))
shape("a leaf for key encipherment", "leaf", usage=("key_encipherment",))
shape("a leaf that may sign certificates", "leaf", usage=("digital_signature", "key_cert_sign"))
shape("a leaf without basic constraints", "leaf", ca=None)
shape("a leaf that is a CA", "leaf", ca=True, usage=("digital_signature", "key_cert_sign"))
shape("a CA for servers", "a CA", purposes=(SERVER,))
shape("a CA for any purpose", "a CA", purposes=(ANY,))
shape("a CA for clients and servers", "a CA", purposes=(*CLIENT, SERVER))
shape("a CA without a key usage", "a CA", usage=None)
shape("a CA that may sign CRLs only", "a CA", usage=("crl_sign",))
shape("a CA without basic constraints", "a CA", ca=None)
shape("a CA that says it is none", "a CA", ca=False)
shape("basic constraints that are not critical", "a CA", critical=False)
shape("a path length of none", "a CA", path_length=0)
shape("a path length of one", "a CA", path_length=1)
# keys and signatures
shape("a leaf with an RSA key", "leaf", key=rsa_key())
shape("a CA with an RSA key", "a CA", key=rsa_key())
shape("a CA with a small RSA key", "a CA", key=rsa_key(1024))
shape("a leaf with a small RSA key", "leaf", key=rsa_key(1024))
shape("a CA on P-384", "a CA", key=ec.generate_private_key(ec.SECP384R1()), digest=hashes.SHA384)
# names
shape("a leaf without a subject", "leaf", name=x509.Name([]))


@odd("a key identifier that is none of its key's")
def _(draft: Draft) -> None:
    place = draft.a_ca
    draft.change(place, identifier=b"made up")


@odd("an issuer named in another type of string")
def _(draft: Draft) -> None:
    place = draft.below_root
    above = draft.shapes[place + 1]
    draft.change(place + 1, name=named(str(above.name), PRINTABLE) if isinstance(above.name, str) else above.name)
    draft.change(place, issuer_name=named(str(above.name)) if isinstance(above.name, str) else None)


@odd("an issuer named in another case, with more spaces")
def _(draft: Draft) -> None:
    place = draft.below_root
    above = draft.shapes[place + 1].name
    draft.change(place, issuer_name=named(f" {above.lower()}".replace(" ", "  ")) if isinstance(above, str) else None)


@odd("an authority that is named by certificate")
def _(draft: Draft) -> None:
    draft.then.insert(0, lambda: _by_certificate(draft, draft.members[1].certificate.serial_number))


@odd("an authority that is named by another certificate")
def _(draft: Draft) -> None:
    draft.then.insert(0, lambda: _by_certificate(draft, 4711))


def _by_certificate(draft: Draft, number: int) -> None:
    issuer = draft.members[1]
    names = [x509.DirectoryName(issuer.certificate.issuer)]
    draft.members[0] = draft.shapes[0].but(authority=x509.AuthorityKeyIdentifier(None, names, number)).by(issuer)


# critical extensions
@odd("a critical extension that nobody knows")
def _(draft: Draft) -> None:
    unknown = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    draft.more(draft.random.randrange(len(draft.shapes)), unknown, critical=True)


@odd("a critical extension that few servers know")
def _(draft: Draft) -> None:
    few: list[x509.ExtensionType] = [
        x509.PolicyConstraints(None, 0),
        x509.InhibitAnyPolicy(5),
        x509.CRLDistributionPoints(
            [x509.DistributionPoint([x509.UniformResourceIdentifier("http://a.example/crl")], None, None, None)]
        ),
        x509.OCSPNoCheck(),
    ]
    draft.more(draft.random.randrange(len(draft.shapes)), draft.random.choice(few), critical=True)


@odd("critical certificate policies")
def _(draft: Draft) -> None:
    policy = x509.PolicyInformation(ObjectIdentifier("1.2.3.4"), None)
    draft.more(draft.below_root, x509.CertificatePolicies([policy]), critical=True)


# name constraints
ORGANIZATION = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Partner")])
_SUBTREES: list[tuple[x509.GeneralName, x509.GeneralName | x509.Name, x509.GeneralName | x509.Name]] = [
    (x509.DNSName("example.com"), x509.DNSName("a.example.com"), x509.DNSName("a.example.org")),
    (x509.DNSName("example.com"), x509.DNSName("EXAMPLE.com"), x509.DNSName("badexample.com")),
    (x509.RFC822Name("example.com"), x509.RFC822Name("a@example.com"), x509.RFC822Name("a@b.example.com")),
    (x509.RFC822Name("a@example.com"), x509.RFC822Name("a@Example.com"), x509.RFC822Name("b@example.com")),
    (
        x509.UniformResourceIdentifier("example.com"),
        x509.UniformResourceIdentifier("https://example.com/a"),
        x509.UniformResourceIdentifier("https://example.org/a"),
    ),
    (
        x509.UniformResourceIdentifier(".example.com"),
        x509.UniformResourceIdentifier("spiffe://a.example.com/b"),
        x509.UniformResourceIdentifier("spiffe://example.org/b"),
    ),
    (
        x509.IPAddress(ip_network("192.0.2.0/24")),
        x509.IPAddress(ip_address("192.0.2.7")),
        x509.IPAddress(ip_address("192.0.3.7")),
    ),
    (
        x509.DirectoryName(ORGANIZATION),
        x509.Name([*ORGANIZATION, x509.NameAttribute(NameOID.COMMON_NAME, "leaf")]),
        x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Other")]),
    ),
]


def _constrained(draft: Draft, *, holds: bool, permitted: bool) -> None:
    subtree, within, without = draft.random.choice(_SUBTREES)
    constraints = x509.NameConstraints([subtree] if permitted else None, None if permitted else [subtree])
    draft.more(1, constraints, critical=draft.random.random() < 0.7)
    name = within if holds == permitted else without
    if isinstance(name, x509.Name):
        draft.change(0, name=name)
    else:
        draft.more(0, x509.SubjectAlternativeName([name]), critical=False)


ODDITIES["a name that a CA permits"] = lambda it: _constrained(it, holds=True, permitted=True)
ODDITIES["a name that a CA does not permit"] = lambda it: _constrained(it, holds=False, permitted=True)
ODDITIES["a name that a CA excludes"] = lambda it: _constrained(it, holds=False, permitted=False)
ODDITIES["a name that a CA does not exclude"] = lambda it: _constrained(it, holds=True, permitted=False)


@odd("a common name that looks like a host and is not permitted")
def _(draft: Draft) -> None:
    draft.more(1, x509.NameConstraints([x509.DNSName("example.com")], None), critical=True)
    draft.change(0, name="a.example.org")


# what is sent, and what is trusted
@odd("a chain that is sent upside down, with its root")
def _(draft: Draft) -> None:
    draft.then.append(lambda: draft.sent.__setitem__(slice(None), draft.members[:0:-1]))


@odd("a chain that is sent without a link")
def _(draft: Draft) -> None:
    draft.then.append(lambda: draft.sent.clear())


@odd("a chain that is in the truststore")
def _(draft: Draft) -> None:
    draft.then.append(lambda: draft.trusted.extend(draft.members[1:-1]))


@odd("a truststore with the issuing CA alone")
def _(draft: Draft) -> None:
    draft.then.append(lambda: draft.trusted.__setitem__(slice(None), [draft.members[1]]))


@odd("a truststore with the leaf alone")
def _(draft: Draft) -> None:
    draft.then.append(lambda: draft.trusted.__setitem__(slice(None), [draft.members[0]]))


@odd("an empty truststore")
def _(draft: Draft) -> None:
    draft.then.append(lambda: draft.trusted.clear())


def _beside(name: str, to: str, **changes: object) -> None:
    """Beside a CA, another certificate of its name: in what is sent, or in the truststore."""

    def oddity(draft: Draft) -> None:
        place = draft.a_ca if to == "trusted" else min(draft.a_ca, len(draft.shapes) - 2)

        def add() -> None:
            if place < 1:
                return
            of, options = draft.shapes[place], dict(changes)
            if options.pop("same key", False):
                options["key"] = draft.members[place].key
            identifier = draft.members[place].certificate.extensions
            if options.pop("same identifier", False):
                ours = next((it.value for it in identifier if isinstance(it.value, x509.SubjectKeyIdentifier)), None)
                options["identifier"] = ours.digest if ours else b""
            other = of.but(**({"key": None} | options))
            of_root = place == len(draft.members) - 1
            made = other.self_signed() if of_root else other.by(draft.members[place + 1])
            holder = draft.trusted if to == "trusted" else draft.sent
            holder.insert(draft.random.randrange(len(holder) + 1), made)

        draft.then.append(add)

    ODDITIES[name] = oddity


_LATER = {"not_before": NOW - timedelta(days=1), "not_after": NOW + timedelta(days=999)}
for _to, _where in (("trusted", "in the truststore"), ("sent", "in what is sent")):
    _beside(f"a renewed CA beside its former {_where}", _to, **{"same key": True}, **_LATER)
    _beside(f"a renewed CA beside its expired former {_where}", _to, **{"same key": True}, **EXPIRED)
    _beside(f"a twin with the same key identifier {_where}", _to, **{"same identifier": True})
    _beside(f"a twin without a key identifier {_where}", _to, identifier=b"")
    _beside(f"a twin with a key identifier of its own {_where}", _to)
    _beside(f"an expired twin {_where}", _to, identifier=b"", **EXPIRED)
    _beside(f"a twin with another kind of key {_where}", _to, key=rsa_key(), identifier=b"")
    _beside(f"a renewed CA for servers {_where}", _to, **{"same key": True}, purposes=(SERVER,))


def _crossed(name: str, where: str, *, trusted: bool, ends: dict[str, object]) -> None:
    """The root, cross-signed by another, which is trusted, or is not."""

    def oddity(draft: Draft) -> None:
        def add() -> None:
            other = Shape("Other Root").but(**ends).self_signed()
            crossed = draft.shapes[-1].but(key=draft.members[-1].key).by(other)
            (draft.sent if where == "sent" else draft.trusted).append(crossed)
            if trusted:
                draft.trusted.append(other)

        draft.then.append(add)

    ODDITIES[name] = oddity


_crossed("a root that another has cross-signed, in what is sent", "sent", trusted=False, ends={})
_crossed("a root that an expired one has cross-signed, in what is sent", "sent", trusted=False, ends=EXPIRED)
_crossed("a cross-signed root in the truststore, with its issuer", "trusted", trusted=True, ends={})
_crossed("a cross-signed root in the truststore, without its issuer", "trusted", trusted=False, ends={})
_crossed("a cross-signed root in the truststore, with its expired issuer", "trusted", trusted=True, ends=EXPIRED)


@odd("roots that have signed each other in the truststore")
def _(draft: Draft) -> None:
    def add() -> None:
        root, other = draft.members[-1], Shape("Other Root").self_signed()
        draft.trusted.append(draft.shapes[-1].but(key=root.key).by(other))
        draft.trusted.append(Shape("Other Root", key=other.key).by(root))

    draft.then.append(add)


@odd("a root that is only sent, and trusted by its cross-signed form")
def _(draft: Draft) -> None:
    def replace() -> None:
        other = Shape("Other Root").self_signed()
        draft.sent.append(draft.shapes[-1].but(key=draft.members[-1].key).by(other))
        draft.trusted[:] = [other]

    draft.then.append(replace)


@odd("a CA that was renewed by its own former key")
def _(draft: Draft) -> None:
    def replace() -> None:
        root, shape = draft.members[-1], draft.shapes[-1]
        renewed = shape.by(root)
        place = len(draft.members) - 2
        draft.members[place] = draft.shapes[place].by(renewed)
        for lower in reversed(range(place)):
            draft.members[lower] = draft.shapes[lower].by(draft.members[lower + 1])
        draft.sent[:] = [*draft.members[1:-1], renewed]

    draft.then.insert(0, replace)


@odd("a longer chain")
def _(draft: Draft) -> None:
    draft.shapes[1:1] = [Shape(f"CA below {it}") for it in range(draft.random.choice((1, 2, 3)))]


@odd("a leaf that signs itself")
def _(draft: Draft) -> None:
    def replace() -> None:
        draft.members[0] = draft.shapes[0].but(issuer_name=None).self_signed()
        draft.trusted.append(draft.members[0])
        if draft.random.random() < 0.3:
            draft.trusted.append(draft.shapes[0].but(issuer_name=None).self_signed())

    draft.then.insert(0, replace)
