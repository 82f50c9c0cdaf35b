"""Names: read as OpenSSL writes them, and nobody on a list who was not put there, whatever a CA signs.

Names are drawn with all types of strings, good and broken, and with what any form of writing has to escape. Callers are
drawn by the CAs of a truststore in which strangers are called as ours are; who signed is known here, and the authorizer
has to find it out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from types import SimpleNamespace
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mtls_rotation.aws.bucket import Stored
from mtls_rotation.contract.layout import managed_anchor_key
from mtls_rotation.contract.revocations import Revocations
from mtls_rotation.gateway.authorizer.allow_list import AllowList
from mtls_rotation.gateway.authorizer.anchors import Anchors
from mtls_rotation.gateway.authorizer.decision import decide
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.authorities import Authorities
from mtls_rotation.pki.distinguished_names import DistinguishedName
from mtls_rotation.pki.presented import Presented
from mtls_rotation.revocation import notices
from tests.kit import builders, names, odd, openssl
from tests.proof import Outcome

_QUICK, _FULL = 50, 1500
_CA = x509.Name(
    [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"), x509.NameAttribute(NameOID.COMMON_NAME, "CA")]
)
_SHOUTED = x509.Name(
    [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "EXAMPLE"), x509.NameAttribute(NameOID.COMMON_NAME, " ca")]
)


@dataclass(frozen=True)
class Signer:
    """A CA that may have signed a caller.

    Attributes:
        anchors: the certificates of the truststore that answer for what it signs.
        managed: whether one of these is the stack's own.
    """

    ca: pki.CertifiedKey
    anchors: frozenset[str] = frozenset()
    managed: bool = False


@dataclass
class Tried:
    """What was drawn."""

    counts: Counter[str] = field(default_factory=Counter)


def run(examples: int = _FULL) -> Outcome:
    """The full form; the quick one with fewer examples."""
    tried = Tried()
    failures = []
    for trial in (_written, _odd, _same, _callers):
        try:
            trial(tried, examples)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what was found
            failures.append(f"{trial.__name__.strip('_')}: {_told(error)}")
    return Outcome(
        counts=dict(tried.counts),
        failures=failures,
        notes=[
            "OpenSSL's forms are RFC2253, oneline, multiline and what 3.2 prints unasked, by this machine's library.",
            "A caller is let in exactly if it was signed, at any height, by a CA that the list binds its name to.",
        ],
    )


def quick() -> Outcome:
    """The quick form."""
    return run(_QUICK)


def _told(error: BaseException) -> str:
    inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error
    return " ".join([f"{type(inner).__name__}: {inner}", *getattr(inner, "__notes__", ())])


def _drawing(examples: int, **strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], None]:
    """Run a function with as many draws, each run of another seed."""

    def run_it(trial: Callable[..., None]) -> None:
        drawn = given(**strategies)(trial)
        settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )(drawn)()

    return run_it


# names ----------------------------------------------------------------------------------------------------------------


def _written(tried: Tried, examples: int) -> None:
    @_drawing(examples, encoded=names.names())
    def _(encoded: bytes) -> None:
        name = DistinguishedName.from_der(encoded)
        assert DistinguishedName.parse(str(name)) == name
        if not openssl.reads(encoded):
            tried.counts["names that OpenSSL does not read"] += 1
            return
        tried.counts["names"] += 1
        rfc2253 = openssl.written(encoded, openssl.RFC2253)
        assert DistinguishedName.parse(rfc2253) == name, rfc2253
        oneline = f"subject={openssl.written(encoded, openssl.ONELINE)}"
        assert DistinguishedName.parse(oneline) == name, oneline
        lines = f"issuer=\n{openssl.written(encoded, openssl.MULTILINE)}"
        assert DistinguishedName.parse(lines) == name, lines
        default = openssl.written(encoded, openssl.DEFAULT_3_2)
        assert name in DistinguishedName.readings(default), default


def _odd(tried: Tried, examples: int) -> None:
    @_drawing(examples, encoded=names.names(names.ODD_VALUES))
    def _(encoded: bytes) -> None:
        tried.counts["odd names"] += 1
        name = DistinguishedName.from_der(encoded)
        assert DistinguishedName.parse(str(name)) == name, str(name)
        assert str(name).isprintable() or not str(name).isascii(), repr(str(name))


def _same(tried: Tried, examples: int) -> None:
    few = names.names(st.sampled_from([(names.UTF8, b"Aa"), (names.PRINTABLE, b"aa "), (names.BMP, b"\0A\0a")]))

    @_drawing(examples, encoded=few, other=few)
    def _(encoded: bytes, other: bytes) -> None:
        tried.counts["pairs of names"] += 1
        if openssl.reads(encoded) and openssl.reads(other) and openssl.same(encoded, other):
            tried.counts["pairs that OpenSSL takes for one"] += 1
            assert DistinguishedName.from_der(encoded).is_same(DistinguishedName.from_der(other))


# callers --------------------------------------------------------------------------------------------------------------


@cache
def _signers() -> dict[str, Signer]:
    ours, partner = builders.named(_CA), builders.root("Partner CA")
    assert isinstance(ours.key, ec.EllipticCurvePrivateKey)
    renewed = _certified(builders.Foreign(subject=_CA, key=ours.key, signer=ours.key))
    namesake = builders.named(_CA)
    between = _certified(builders.Foreign(subject=_CA, issuer=partner.certificate, signer=_ec(partner)))
    shouting = _certified(builders.Foreign(subject=_SHOUTED, issuer=partner.certificate, signer=_ec(partner)))
    absent = _certified(builders.Foreign(subject=_CA, issuer=partner.certificate, signer=_ec(partner)))
    client = _certified(builders.Foreign(subject=_CA, authority=False))
    prints = {id(it): pki.fingerprint(it.certificate) for it in (ours, renewed, namesake, partner, between, shouting)}
    both = frozenset({prints[id(ours)], prints[id(renewed)]})
    return {
        "ours": Signer(ours, both, managed=True),
        "ours, renewed": Signer(renewed, both, managed=True),
        "a namesake": Signer(namesake, frozenset({prints[id(namesake)]})),
        "a partner": Signer(partner, frozenset({prints[id(partner)]})),
        "a partner's intermediate of our name": Signer(between, frozenset({prints[id(between)], prints[id(partner)]})),
        "one that writes our name otherwise": Signer(shouting, frozenset({prints[id(shouting)], prints[id(partner)]})),
        "one that is not in the truststore": Signer(absent),
        "a client of our CA's name that signs itself": Signer(client),
        "nobody": Signer(builders.named(_CA)),
    }


def _certified(foreign: builders.Foreign) -> pki.CertifiedKey:
    certificate, key = foreign.make()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return pki.CertifiedKey(key=key, certificate=certificate, chain=(), anchor=certificate)


def _ec(ca: pki.CertifiedKey) -> ec.EllipticCurvePrivateKey:
    assert isinstance(ca.key, ec.EllipticCurvePrivateKey)
    return ca.key


@cache
def _truststore() -> Anchors:
    signers = _signers()
    absent = {"one that is not in the truststore", "nobody"}
    held = [it.ca.certificate for name, it in signers.items() if name not in absent]
    managed = [signers[it].ca.certificate for it in ("ours", "a client of our CA's name that signs itself")]
    keys = [SimpleNamespace(key=managed_anchor_key(pki.fingerprint(it))) for it in managed]
    stored = Stored(pki.to_pem(*held).encode(), "etag", "v1")
    bucket = SimpleNamespace(newer=lambda *_: stored, list=lambda _: keys, uri=str)
    return Anchors(cast("Any", bucket))


_SUBJECTS = {
    "CN=billing,O=Example": [[(10, (names.UTF8, b"Example"))], [(3, (names.UTF8, b"billing"))]],
    "CN=billing, O=Example": [[(10, (names.PRINTABLE, b"Example"))], [(3, (names.PRINTABLE, b"billing"))]],
    "CN=Billing,O=Example": [[(10, (names.UTF8, b"Example"))], [(3, (names.UTF8, b"Billing"))]],
    "O=Example,CN=billing": [[(3, (names.UTF8, b"billing"))], [(10, (names.UTF8, b"Example"))]],
    "CN=billing+O=Example": [[(10, (names.UTF8, b"Example")), (3, (names.BMP, "billing".encode("utf-16-be")))]],
    "CN=billing,O=Marks & Sons": [[(10, (names.PRINTABLE, b"Marks & Sons"))], [(3, (names.UTF8, b"billing"))]],
    "CN=billing,O=#1401e9": [[(10, (names.TELETEX, b"\xe9"))], [(3, (names.UTF8, b"billing"))]],
    'CN="billing,O=Example"': [[(3, (names.UTF8, b"billing,O=Example"))]],
    "CN=billing,dnQualifier=20261130-0123456789ab": [
        [(46, (names.PRINTABLE, b"20261130-0123456789ab"))],
        [(3, (names.UTF8, b"billing"))],
    ],
}


def _encoded(subject: str) -> bytes:
    parts = _SUBJECTS[subject]
    return names.name([[names.attribute(bytes([0x55, 4, kind]), value) for kind, value in part] for part in parts])


def _entries() -> st.SearchStrategy[tuple[str, str | list[str] | None]]:
    prints = sorted({*chain.from_iterable(it.anchors for it in _signers().values())})
    cas = st.sampled_from(["managed", *prints])
    bound = st.none() | cas | st.lists(cas, min_size=1, max_size=2)
    return st.tuples(st.sampled_from(["*", *_SUBJECTS]), bound)


def _callers(tried: Tried, examples: int) -> None:
    strategies = {
        "signer": st.sampled_from(sorted(_signers())),
        "subject": st.sampled_from(sorted(_SUBJECTS)),
        "entries": st.lists(_entries(), min_size=1, max_size=3),
    }

    @_drawing(examples, **strategies)
    def _(signer: str, subject: str, entries: list[tuple[str, str | list[str] | None]]) -> None:
        by = _signers()[signer]
        pem = odd.named(by.ca, _encoded(subject))
        made = decide(pem, "GET", "/", Revocations, lambda: _list(entries), _truststore().of)
        tried.counts["revocations"] += 1
        assert _revoked(pem, pem)
        assert not _revoked(pem, odd.named(by.ca, _encoded(subject)))
        again = odd.named(_signers()["nobody"].ca, _encoded(subject), number=Presented.from_pem(pem).serial_number)
        assert not _revoked(pem, again)

        wanted = any(_admits(by, subject, *entry) for entry in entries)
        tried.counts["callers"] += 1
        tried.counts[f"callers {'let in' if wanted else 'kept out'}"] += 1
        assert (made.denial == "") == wanted, (made, signer, subject, entries)
        assert made.denial in {"", "not-allowed"}
        told = made.context["anchorSha256"]
        assert told in by.anchors or (not told and not by.anchors), (told, signer)
        assert made.context["anchorManaged"] == str(by.managed and told in _managed()).lower()


def _list(entries: list[tuple[str, str | list[str] | None]]) -> AllowList:
    listed = [_entry(*it) for it in entries]
    return AllowList.parse(json.dumps({"routes": {"GET /": listed}}), "the list")


def _entry(name: str, ca: str | list[str] | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name if name == "*" else f"subject:{name}"}
    return entry | {"ca": ca} if ca else entry


def _revoked(notice: str, caller: str) -> bool:
    """Whether a notice keeps a caller out."""
    authorities = Authorities(it.ca.certificate for name, it in _signers().items() if name != "nobody")
    (said,) = notices.parse(notice.encode(), "the notice")
    assert isinstance(said, notices.Shown)
    listed = authorities.identify(said.certificate)
    revocations = Revocations([listed], {listed.key: authorities.public_key(listed.key)} if listed.key else {})
    return decide(caller, "GET", "/", lambda: revocations, None, lambda _: ()).denial == "revoked"


@cache
def _managed() -> frozenset[str]:
    return frozenset({pki.fingerprint(_signers()["ours"].ca.certificate)})


def _admits(by: Signer, subject: str, name: str, ca: str | list[str] | None) -> bool:
    """Whether an entry is meant for a caller: by what is known of who made it, and not by what it says."""
    if name != "*" and _parts(name) != _parts(subject):
        return False
    wanted = [ca] if isinstance(ca, str) else ca
    return wanted is None or bool(by.anchors & set(wanted)) or (by.managed and "managed" in wanted)


def _parts(subject: str) -> list[list[tuple[int, bytes]]]:
    """What a name says, whatever types its strings are of."""
    return [sorted((kind, _plain(value)) for kind, value in part) for part in _SUBJECTS[subject]]


def _plain(value: tuple[int, bytes]) -> bytes:
    kind, content = value
    return content.decode("utf-16-be").encode() if kind == names.BMP else content
