"""Whether every server would accept a certificate, whichever of the issuers that it could take it takes."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_rotation.pki.servers import MAX_CHAIN_LENGTH, Servers
from tests.kit.builders import NOW
from tests.kit.chains import CLIENT, EXPIRED, LEAF, PRINTABLE, Member, Shape, named, new_key, rsa_key

ROOT = Shape("Root").self_signed()
SUB = Shape("Sub").by(ROOT)
GOOD = LEAF.by(SUB)
NONE = "no chain to a trusted anchor"
NOWHERE = Shape("Nowhere").self_signed()


def refusal(leaf: Member, chain: list[Member], anchors: list[Member]) -> str:
    """The first reason, where it does not hang on the order of anything; empty for none."""
    found = {
        "; ".join(Servers(trusted, NOW).refusals(leaf.certificate, sent))
        for trusted in permutations([it.certificate for it in anchors])
        for sent in permutations([it.certificate for it in chain])
    }
    assert len({bool(it) for it in found}) == 1, found
    return min(found)


def test_a_chain_that_is_sent_is_accepted() -> None:
    assert not refusal(GOOD, [SUB], [ROOT])
    assert not refusal(GOOD, [SUB, ROOT], [ROOT])


def test_a_chain_that_is_in_the_truststore_is_accepted() -> None:
    assert not refusal(GOOD, [], [ROOT, SUB])


def test_a_chain_of_which_a_link_is_nowhere_is_refused() -> None:
    assert refusal(GOOD, [], [ROOT]) == f"{NONE}: its issuer, CN=Sub, is not trusted"
    assert refusal(GOOD, [SUB], [NOWHERE]).endswith("CN=Root, is not trusted")
    assert "CN=Root" in refusal(GOOD, [SUB, ROOT], [NOWHERE])


def test_a_path_must_end_in_a_root() -> None:
    assert "the issuer of CN=Sub" in refusal(GOOD, [SUB], [SUB])


@pytest.mark.parametrize("identifiers", ["equal", "none", "none on the twin"])
def test_a_twin_of_the_issuer_shuts_out_in_any_order(identifiers: str) -> None:
    root = Shape("Root", identifier=b"" if identifiers == "none" else None).self_signed()
    leaf = LEAF.by(root)
    same = x509.SubjectKeyIdentifier.from_public_key(root.key.public_key()).digest
    twin = Shape("Root", identifier=same if identifiers == "equal" else b"").self_signed()
    assert not refusal(leaf, [], [root])
    assert "which it has not signed" in refusal(leaf, [], [root, twin])


def test_a_twin_with_another_key_identifier_is_told_apart_by_it() -> None:
    assert not refusal(GOOD, [SUB], [ROOT, Shape("Root").self_signed()])
    assert "which it has not signed" in refusal(
        LEAF.but(authority=b"").by(ROOT), [], [ROOT, Shape("Root").self_signed()]
    )


def test_a_twin_with_another_kind_of_key_is_not_told_apart_by_it() -> None:
    """OpenSSL 3 passes it over; OpenSSL 1 and GnuTLS do not."""
    twin = Shape("Root", key=rsa_key(), identifier=b"").self_signed()
    assert "which it has not signed" in refusal(GOOD, [SUB], [ROOT, twin])


def test_a_twin_that_has_expired_is_not_taken() -> None:
    assert not refusal(GOOD, [SUB], [ROOT, Shape("Root", identifier=b"", **EXPIRED).self_signed()])


def test_a_twin_that_may_not_sign_is_taken_all_the_same() -> None:
    """OpenSSL looks at the key usage when it has chosen, and not before."""
    twin = Shape("Root", key=ROOT.key, usage=("crl_sign",)).self_signed()
    assert "lacks keyCertSign" in refusal(GOOD, [SUB], [ROOT, twin])


def test_of_a_renewed_ca_the_one_in_date_is_taken() -> None:
    former = Shape("Root", key=ROOT.key, **EXPIRED).self_signed()
    assert not refusal(GOOD, [SUB], [ROOT, former])
    assert "it expired on" in refusal(GOOD, [SUB], [former])


def test_a_root_that_is_cross_signed_by_one_not_trusted_shuts_out_in_the_truststore_and_not_in_the_chain() -> None:
    older = Shape("Older").self_signed()
    crossed = Shape("Root", key=ROOT.key).by(older)
    assert not refusal(GOOD, [SUB, crossed], [ROOT])
    assert not refusal(GOOD, [SUB], [ROOT, crossed, older])
    assert "CN=Older, is not trusted" in refusal(GOOD, [SUB], [ROOT, crossed])


def test_above_an_anchor_nothing_counts_that_is_sent() -> None:
    crossed = Shape("Sub", key=SUB.key).by(NOWHERE)
    assert not refusal(GOOD, [SUB], [ROOT, SUB])
    assert "CN=Nowhere, is not trusted" in refusal(GOOD, [SUB], [ROOT, crossed])


def test_roots_that_have_signed_each_other_shut_out() -> None:
    one, two = Shape("One").self_signed(), Shape("Two").self_signed()
    crossed = [Shape("One", key=one.key).by(two), Shape("Two", key=two.key).by(one)]
    assert "in circles" in refusal(LEAF.by(one), [], [one, two, *crossed])


def test_a_client_that_signs_itself_is_accepted_where_it_alone_has_its_name() -> None:
    own = LEAF.self_signed()
    assert not refusal(own, [], [own, ROOT])
    assert "is not trusted" in refusal(own, [], [ROOT])
    assert "whose name it has" in refusal(own, [], [own, LEAF.but(key=own.key).self_signed()])


def test_a_client_that_only_names_itself_is_refused() -> None:
    forged = LEAF.but(issuer_name=named("leaf"), authority=b"").by(ROOT)
    assert "has not signed itself" in refusal(forged, [], [forged])


SHAPES = [
    (Shape("Sub", purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)), "its extended key usage lacks clientAuth"),
    (Shape("Sub", purposes=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)), "its extended key usage lacks clientAuth"),
    (Shape("Sub", ca=False), "its basic constraints do not say that it is a CA"),
    (Shape("Sub", ca=None), "its basic constraints do not say that it is a CA"),
    (Shape("Sub", usage=("crl_sign",)), "its key usage lacks keyCertSign"),
    (Shape("Sub", **EXPIRED), "it expired on"),
    (Shape("Sub", not_before=NOW + timedelta(hours=1)), "it is not valid before"),
    (Shape("Sub", key=rsa_key(1024)), "its key is RSA-1024"),
    (Shape("Sub", more=((x509.OCSPNoCheck(), True),)), "is critical"),
]


@pytest.mark.parametrize(("shape", "reason"), SHAPES, ids=[reason for _, reason in SHAPES])
def test_a_ca_that_is_not_fit_for_it_is_refused(shape: Shape, reason: str) -> None:
    sub = shape.by(ROOT)
    leaf = LEAF.by(sub)
    assert reason in refusal(leaf, [sub], [ROOT])
    assert reason in refusal(leaf, [], [ROOT, sub])


def test_an_anchor_is_asked_for_its_usages_too() -> None:
    root = Shape("Root", purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)).self_signed()
    assert "its extended key usage lacks clientAuth" in refusal(LEAF.by(root), [], [root])


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (LEAF.but(purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)), "its extended key usage is not clientAuth"),
        (LEAF.but(purposes=None), "its extended key usage is not clientAuth"),
        (LEAF.but(usage=("key_encipherment",)), "its key usage lacks digitalSignature"),
        (LEAF.but(usage=("key_agreement",)), "its key usage lacks digitalSignature"),
        (LEAF.but(**EXPIRED), "it expired on"),
    ],
)
def test_a_client_that_is_not_fit_for_it_is_refused(shape: Shape, reason: str) -> None:
    assert reason in refusal(shape.by(ROOT), [], [ROOT])


def test_a_path_length_counts_the_cas_below() -> None:
    root = Shape("Root", path_length=0).self_signed()
    sub = Shape("Sub").by(root)
    again = Shape("Root", path_length=0).by(root)
    assert not refusal(LEAF.by(root), [], [root])
    assert "its path length constraint is 0, with 1 CAs below it" in refusal(LEAF.by(sub), [sub], [root])
    # One that carries its issuer's name does not count (RFC 5280, section 6.1.4 l).
    assert not refusal(LEAF.by(again), [again], [root])


def test_an_authority_key_identifier_that_names_another_key_is_refused() -> None:
    leaf = LEAF.but(authority=b"another").by(ROOT)
    assert "is not trusted with the key identifier" in refusal(leaf, [], [ROOT])


def test_an_authority_key_identifier_may_name_the_certificate() -> None:
    of_nowhere = x509.AuthorityKeyIdentifier(
        None, [x509.DirectoryName(named("Root"))], NOWHERE.certificate.serial_number
    )
    of_the_root = x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(named("Root"))], ROOT.certificate.serial_number)
    renewed, twin = Shape("Root", key=ROOT.key).self_signed(), Shape("Root").self_signed()
    assert refusal(LEAF.but(authority=of_nowhere).by(ROOT), [], [ROOT])
    assert not refusal(LEAF.but(authority=of_the_root).by(ROOT), [], [ROOT])
    assert not refusal(LEAF.but(authority=of_the_root).by(ROOT), [], [ROOT, renewed])
    # GnuTLS does not look at it.
    assert "which it has not signed" in refusal(LEAF.but(authority=of_the_root).by(ROOT), [], [ROOT, twin])


def test_names_are_equal_in_whichever_type_of_string_they_are_written() -> None:
    root = Shape(named("Root  CA", PRINTABLE)).self_signed()
    assert not refusal(LEAF.but(issuer_name=named("root ca")).by(root), [], [root])


def test_a_longer_chain_than_api_gateway_takes_is_refused() -> None:
    chain = [ROOT]
    for number in range(1, MAX_CHAIN_LENGTH + 1):
        chain.append(Shape(f"CA {number}").by(chain[-1]))
        too_long = number == MAX_CHAIN_LENGTH
        assert ("more than 4 CAs" in refusal(LEAF.by(chain[-1]), chain[1:], [ROOT])) is too_long


def test_no_number_of_crossed_signatures_takes_long() -> None:
    """Of each of four CAs thirty certificates: almost a million paths, judged in moments."""
    keys = [new_key() for _ in range(4)]
    cas = [Member(Shape(f"CA {it}", key=key).self_signed().certificate, key) for it, key in enumerate(keys)]
    anchors = [
        (Shape(f"CA {it}", key=key).by(cas[it + 1]) if it < 3 else Shape(f"CA {it}", key=key).self_signed()).certificate
        for it, key in enumerate(keys)
        for _ in range(30)
    ]
    assert Servers(anchors, NOW).refusals(LEAF.by(cas[0]).certificate) == []


def test_who_cannot_be_read_is_refused() -> None:
    twice = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"rubbish")
    leaf = LEAF.but(purposes=CLIENT, more=((twice, False),)).by(ROOT)
    assert "its extensions cannot be read" in refusal(leaf, [], [ROOT])
