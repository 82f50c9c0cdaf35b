"""Bundles as partners write them, API Gateway's rules for each certificate, and the truststore's bytes."""

from __future__ import annotations

import codecs
import hashlib
import re
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from mtls_rotation.pki import bundles
from mtls_rotation.pki.certificates import fingerprint, to_pem
from mtls_rotation.targets.api import Edition
from mtls_rotation.targets.limits import API_GATEWAY
from mtls_rotation.truststore import rendering
from mtls_rotation.truststore.plan import Anchor, Reason, Why
from tests.kit import builders, odd
from tests.kit.builders import NOW

ONE, TWO, THREE = (builders.foreign(common_name=name) for name in ("One", "Two", "Three"))
PIECES = [
    to_pem(ONE).encode(),
    b"-----BEGIN CERTIFICATE-----",
    b"-----END CERTIFICATE-----",
    b"-----BEGIN PRIVATE KEY-----",
    b"\r\n",
    b"MIIB",
]


def anchors(*certificates: x509.Certificate) -> dict[str, Anchor]:
    return {fingerprint(it): Anchor(it, (Reason(Why.IN_USE, ("stack/client",)),)) for it in certificates}


def test_one_set_has_one_rendering_whatever_the_order_and_however_often() -> None:
    rendered = rendering.render(anchors(ONE, TWO, THREE, TWO, ONE))

    assert rendering.render(anchors(THREE, ONE, TWO)) == rendered
    order = [fingerprint(entry) for entry in bundles.parse(rendered) if isinstance(entry, x509.Certificate)]
    assert order == sorted({fingerprint(certificate) for certificate in (ONE, TWO, THREE)})


def test_a_truststore_is_bare_pem_blocks_and_nothing_else() -> None:
    """AWS's own examples have no more, and nothing says that API Gateway passes over a text between them."""
    nasty = builders.foreign(common_name="a\n-----BEGIN CERTIFICATE-----")
    every = anchors(ONE, TWO, nasty)

    assert rendering.render(every).decode() == "".join(to_pem(every[key].certificate) for key in sorted(every))
    assert not [line for line in rendering.render(every).splitlines() if not line or line.startswith(b"#")]
    assert rendering.render({}) == b""


@pytest.mark.parametrize(
    "text",
    [
        to_pem(ONE, TWO).encode(),
        to_pem(ONE, TWO).replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + to_pem(ONE, TWO).encode(),
        b"subject=CN = One\nissuer=...\n" + to_pem(ONE).encode() + b"\n\n# our new CA\n\xff\xfe" + to_pem(TWO).encode(),
        to_pem(ONE, TWO).strip().encode(),
    ],
    ids=["plain", "CRLF", "BOM", "comments", "no last line break"],
)
def test_a_bundle_is_read_however_a_partner_wrote_it(text: bytes) -> None:
    assert bundles.parse(text) == [ONE, TWO]


def test_a_garbage_block_is_named_in_its_place_and_hides_no_other() -> None:
    garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    first, broken, last = bundles.parse((to_pem(ONE) + garbage + to_pem(TWO)).encode())

    assert (first, last) == (ONE, TWO)
    assert isinstance(broken, bundles.Unreadable)
    assert "cannot be read as a certificate" in broken.reason


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("AAAA", "no DER of a certificate"),
        ("", "no DER of a certificate"),
        ("!!!!", "no base64"),
        ("MIIBszCCAVmgAwIBAgIU", "no DER of a certificate, or cut short"),
        (odd.of_version_4().split("-----")[2], "no version that X.509 has"),
        (odd.twice_extended().split("-----")[2], "an extension twice"),
    ],
)
def test_what_is_wrong_with_a_block_is_said_in_words_that_are_no_librarys(body: str, why: str) -> None:
    (broken,) = bundles.parse(f"-----BEGIN CERTIFICATE-----\n{body.strip()}\n-----END CERTIFICATE-----\n".encode())

    assert isinstance(broken, bundles.Unreadable)
    assert why in broken.reason
    assert not re.search(r"ParseError|asn1|cryptography|InvalidData|kind:", broken.reason)


@pytest.mark.parametrize("text", [b"", b"\x00\x01\x02", b"-----BEGIN CERTIFICATE-----\nMII"])
def test_a_text_without_certificates_is_named_as_a_whole(text: bytes) -> None:
    (whole,) = bundles.parse(text)
    assert isinstance(whole, bundles.Unreadable)
    assert whole.reason in ("no PEM certificate in it", "it begins and has no END CERTIFICATE line")
    assert bundles.fingerprints(text) == frozenset()


def test_a_private_key_beside_a_certificate_never_reaches_the_truststore() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    entries = bundles.parse((key + to_pem(ONE)).encode())

    assert entries == [ONE]
    assert b"PRIVATE" not in rendering.render(anchors(ONE))


def test_a_block_without_an_end_swallows_no_certificate_after_it() -> None:
    broken, whole = bundles.parse(b"-----BEGIN CERTIFICATE-----\nMIIB\n" + to_pem(TWO).encode())

    assert broken == bundles.Unreadable("it begins and has no END CERTIFICATE line")
    assert whole == TWO


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_bundle_in_utf_16_is_read(encoding: str) -> None:
    text = to_pem(ONE, TWO)
    body = codecs.BOM_UTF16_BE + text.encode(encoding) if encoding == "utf-16-be" else text.encode(encoding)

    assert bundles.parse(body) == [ONE, TWO]


def test_a_der_file_is_told_apart() -> None:
    (whole,) = bundles.parse(ONE.public_bytes(Encoding.DER))

    assert isinstance(whole, bundles.Unreadable)
    assert "openssl x509 -inform der" in whole.reason


def explained(found: dict[str, Anchor]) -> str:
    """What is written beside a truststore of these anchors."""
    body = rendering.render(found)
    edition = Edition("truststore.pem", "s3://bucket/truststore.pem", "v-1", body, frozenset(found))
    return rendering.explain(edition, found).decode()


def test_the_text_beside_a_truststore_says_whose_each_certificate_is_why_and_until_when() -> None:
    uploaded = Reason(Why.UPLOADED, ("anchors/static/a.pem", "anchors/static/b.pem"))
    used = Reason(Why.IN_USE, tuple(f"stack/{number}" for number in range(10)))
    until = ONE.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")

    head, entry = explained({fingerprint(ONE): Anchor(ONE, (uploaded, used))}).split("\n\n")
    assert head.splitlines() == [
        "s3://bucket/truststore.pem",
        "version: v-1",
        f"sha256: {hashlib.sha256(to_pem(ONE).encode()).hexdigest()}",
        "certificates: 1",
    ]
    assert entry.splitlines() == [
        f"anchor: {fingerprint(ONE)}",
        "subject: CN=One",
        "why: uploaded in anchors/static/a.pem, anchors/static/b.pem; in use by stack/0, stack/1, stack/2 and 7 more",
        f"until: {until}",
    ]


def test_the_text_names_the_certificates_in_the_order_of_the_truststore() -> None:
    found = anchors(THREE, ONE, TWO)
    named = re.findall("^anchor: (.*)$", explained(found), re.MULTILINE)

    assert named == [
        fingerprint(it) for it in bundles.parse(rendering.render(found)) if isinstance(it, x509.Certificate)
    ]


@pytest.mark.parametrize("name", ["a\n-----BEGIN CERTIFICATE-----", "a\r\nb", "\u202eb\x00", "Zoë", "----------"])
def test_no_name_can_be_taken_for_a_certificate_or_for_another_line(name: str) -> None:
    nasty = builders.foreign(common_name=name)
    text = explained({"a": Anchor(nasty, (Reason(Why.UPLOADED, (f"anchors/static/{name}",)),))})

    assert bundles.certificates(text.encode()) == {}
    assert text.isascii()
    assert "-----" not in text
    said = [line.partition(":")[0] for line in text.splitlines()]
    assert said == ["s3", "version", "sha256", "certificates", "", "anchor", "subject", "why", "until"]


def test_a_subject_as_long_as_a_book_is_cut_short() -> None:
    long = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"{number:060}") for number in range(1000)])
    certificate = builders.foreign(subject=long)

    assert len(explained(anchors(certificate))) < 700


@settings(max_examples=200)
@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from(PIECES)), max_size=12).map(b"".join))
def test_whatever_stands_in_a_bundle_every_whole_certificate_in_it_is_found(text: bytes) -> None:
    # A whole certificate is found unless rubbish has opened a block that its own BEGIN line then closes.
    found = [entry for entry in bundles.parse(text) if isinstance(entry, x509.Certificate)]

    assert len(found) == text.count(PIECES[0])
    assert set(found) <= {ONE}


@given(st.lists(st.sampled_from([ONE, TWO, bundles.Unreadable("it is rubbish")]), max_size=4))
def test_what_the_sync_notes_of_a_bundle_is_what_it_reads_again(
    entries: list[x509.Certificate | bundles.Unreadable],
) -> None:
    assert bundles.from_blocks(bundles.blocks(entries)) == entries


@pytest.mark.parametrize(
    "certificate",
    [
        builders.foreign(),
        builders.root().certificate,
        builders.foreign(key=ec.generate_private_key(ec.SECP521R1())),
        builders.foreign(key=rsa.generate_private_key(65537, 2048)),
        builders.foreign(authority=False),
        builders.foreign(authority=False, constraints=False),
    ],
    ids=["CA", "ours", "P-521", "RSA-2048", "self-signed leaf", "self-signed without constraints"],
)
def test_what_api_gateway_takes_is_not_refused(certificate: x509.Certificate) -> None:
    assert API_GATEWAY.refusal(certificate, NOW) is None


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (builders.foreign(not_after=NOW - timedelta(seconds=1)), "it expired on"),
        (builders.foreign(not_before=NOW + timedelta(seconds=1)), "it is not valid before"),
        (builders.foreign(digest=hashes.SHA224()), "signed with SHA224"),
        (builders.foreign(key=rsa.generate_private_key(65537, 1024)), "RSA-1024"),  # noqa: S505 - what is refused
        (builders.foreign(key=ec.generate_private_key(ec.SECP224R1())), "secp224r1"),
        (builders.foreign(key=ec.generate_private_key(ec.SECP256K1())), "secp256k1"),
        (
            builders.foreign(key=ed25519.Ed25519PrivateKey.generate(), signer=ec.generate_private_key(ec.SECP256R1())),
            "neither RSA nor ECDSA",
        ),
        (builders.foreign(key=ed25519.Ed25519PrivateKey.generate(), digest=None), "signature algorithm 1.3.101.112"),
        (builders.foreign(authority=False, issuer=ONE), "neither a CA nor self-signed"),
        (builders.foreign(constraints=False, authority=False, issuer=ONE), "neither a CA nor self-signed"),
    ],
)
def test_what_api_gateway_would_not_take_is_refused_with_the_reason(certificate: x509.Certificate, reason: str) -> None:
    assert reason in (API_GATEWAY.refusal(certificate, NOW) or "")


def test_a_ca_more_than_four_below_its_root_is_refused_with_the_count() -> None:
    certificates = builders.authorities(6)

    assert API_GATEWAY.over_long_chains(certificates) == {
        certificates[4]: "its chain has 5 CAs, where API Gateway takes 4 at most",
        certificates[5]: "its chain has 6 CAs, where API Gateway takes 4 at most",
    }
    assert API_GATEWAY.over_long_chains(certificates[2:]) == {}, "what is not there is not counted"


def test_the_shortest_of_several_chains_counts() -> None:
    certificates, keys = builders.authorities_with_keys(5)
    root = builders.foreign(common_name="Level 3", key=keys[3])  # the last but one, signed by itself as well

    assert API_GATEWAY.over_long_chains([*certificates, root]) == {}


def test_a_chain_follows_signatures_and_not_the_names_that_anybody_can_write() -> None:
    _, partner_key = builders.Foreign(common_name="Root X").make()
    named, other_key = builders.Foreign(common_name="Root X").make()
    partners = builders.foreign(common_name="Partner issuing CA", signer=partner_key, issuer=named)
    forged, keys = builders.authorities_with_keys(4)
    forged_root = builders.foreign(common_name="Root X", key=other_key, signer=keys[-1], issuer=forged[-1])

    assert API_GATEWAY.over_long_chains([*forged, forged_root, partners]).keys() == {forged_root}


def test_cas_that_have_signed_each_other_are_no_endless_chain() -> None:
    one, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = builders.foreign(common_name="One", key=one)
    second = builders.foreign(common_name="Other", key=other, signer=one, issuer=root)
    first = builders.foreign(common_name="One", key=one, signer=other, issuer=second)

    assert API_GATEWAY.over_long_chains([first, second]) == {}


def test_a_certificate_in_its_own_name_that_another_key_signed_is_not_self_signed() -> None:
    impostor = builders.foreign(authority=False, signer=ec.generate_private_key(ec.SECP256R1()))

    assert API_GATEWAY.refusal(impostor, NOW) == "it is neither a CA nor self-signed"
