"""Of all paths from a certificate up to a root, the one that holds, and holds longest."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_rotation.pki.paths import Path, find_path
from mtls_rotation.pki.verification import refusals
from tests.kit.builders import NOW
from tests.kit.chains import EXPIRED, LEAF, PRINTABLE, Member, Shape, named, new_key

SOON: dict[str, Any] = {"not_after": NOW + timedelta(days=2)}
ROOT = Shape("Root").self_signed()
SUB = Shape("Sub").by(ROOT)
GOOD = LEAF.by(SUB)


def found(leaf: Member, candidates: list[Member]) -> Path:
    """The one path that comes out in whichever order the candidates come."""
    orders = permutations([it.certificate for it in candidates])
    (path,) = {find_path(leaf.certificate, order, NOW) for order in orders}
    assert path is not None
    return path


def holds(leaf: Member, path: Path) -> bool:
    return not refusals(leaf.certificate, None, path.chain, [path.anchor], NOW)


def path_of(*members: Member) -> Path:
    *chain, anchor = (it.certificate for it in members)
    return Path(tuple(chain), anchor)


def test_a_chain_comes_in_any_order_with_others_among_it() -> None:
    assert found(GOOD, [ROOT, SUB, Shape("Other").self_signed(), GOOD]) == path_of(SUB, ROOT)


@pytest.mark.parametrize("former", [EXPIRED, SOON], ids=["has expired", "expires soon"])
def test_of_a_renewed_ca_the_longer_lasting_is_the_anchor(former: dict[str, object]) -> None:
    old = Shape("Root", key=ROOT.key).but(**former).self_signed()
    path = found(GOOD, [old, SUB, ROOT])
    assert path == path_of(SUB, ROOT)
    assert holds(GOOD, path)


def test_of_a_renewed_intermediate_the_longer_lasting_is_in_the_chain() -> None:
    old = Shape("Sub", key=SUB.key, **SOON).by(ROOT)
    assert found(GOOD, [old, ROOT, SUB]) == path_of(SUB, ROOT)


def test_a_root_that_an_expired_one_has_cross_signed_is_the_anchor_itself_in_each_of_24_orders() -> None:
    """As AddTrust's was in May 2020."""
    old = Shape("Old Root", **EXPIRED).self_signed()
    crossed = Shape("Root", key=ROOT.key).by(old)
    path = found(GOOD, [SUB, ROOT, crossed, old])
    assert path == path_of(SUB, ROOT)
    assert holds(GOOD, path)


def test_the_cross_signed_way_is_taken_where_it_alone_outlives_the_leaf() -> None:
    other = Shape("Other Root").self_signed()
    ending = Shape("Root", key=ROOT.key, **SOON).self_signed()
    crossed = Shape("Root", key=ROOT.key).by(other)
    assert found(GOOD, [SUB, ending, crossed, other]) == path_of(SUB, crossed, other)


def test_beyond_the_end_of_the_leaf_a_shorter_way_is_better_than_a_longer_lasting_one() -> None:
    leaf = LEAF.but(not_after=NOW + timedelta(days=30)).by(SUB)
    other = Shape("Other Root", not_after=NOW + timedelta(days=9999)).self_signed()
    crossed = Shape("Root", key=ROOT.key, not_after=NOW + timedelta(days=9999)).by(other)
    assert found(leaf, [SUB, ROOT, crossed, other]) == path_of(SUB, ROOT)


def test_a_path_that_servers_refuse_gives_way_to_one_that_they_accept() -> None:
    longer = NOW + timedelta(days=800)
    for_servers = Shape("Sub", key=SUB.key, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,), not_after=longer).by(ROOT)
    assert found(GOOD, [for_servers, SUB, ROOT]) == path_of(SUB, ROOT)


def test_where_servers_refuse_every_path_one_is_told_of_all_the_same() -> None:
    old = Shape("Root", key=ROOT.key, **EXPIRED).self_signed()
    path = found(GOOD, [old, SUB])
    assert path == path_of(SUB, old)
    assert not holds(GOOD, path)


def test_names_chain_in_whichever_type_of_string_they_are_written() -> None:
    root = Shape(named("Root", PRINTABLE)).self_signed()
    leaf = LEAF.but(issuer_name=named("Root")).by(root)
    path = found(leaf, [root])
    assert holds(leaf, path)


def test_without_a_root_the_path_ends_as_high_up_as_it_goes() -> None:
    again = Shape("Again").by(GOOD_SUBSUB)
    assert found(LEAF.by(again), [again, GOOD_SUBSUB]) == path_of(again, GOOD_SUBSUB)
    assert find_path(GOOD.certificate, [ROOT.certificate], NOW) is None


GOOD_SUBSUB = Shape("Sub below").by(SUB)


def test_a_chain_that_is_too_long_is_found_whole() -> None:
    chain = [ROOT]
    for number in range(5):
        chain.insert(0, Shape(f"CA {number}").by(chain[0]))
    leaf = LEAF.by(chain[0])
    path = find_path(leaf.certificate, [it.certificate for it in chain], NOW)
    assert path == path_of(*chain)
    assert "more than 4 CAs" in "".join(refusals(leaf.certificate, None, path.chain, [path.anchor], NOW))


def test_no_number_of_ways_takes_long() -> None:
    """Twenty CAs of two levels that have all signed each other, and a root of which there are twenty."""
    keys = {name: new_key() for name in ("A", "B", "Root")}
    of = {name: Shape(name, key=key).self_signed() for name, key in keys.items()}
    certificates = [
        made.certificate
        for number in range(20)
        for made in (
            Shape("A", key=keys["A"], not_after=NOW + timedelta(days=number + 1)).by(of["B"]),
            Shape("B", key=keys["B"]).by(of["A"]),
            Shape("B", key=keys["B"], **EXPIRED).by(of["Root"]),
            Shape("Root", key=keys["Root"], **EXPIRED).self_signed(),
        )
    ]
    certificates.sort(key=lambda it: it.serial_number)
    path = find_path(LEAF.by(of["A"]).certificate, certificates, NOW)
    assert path is not None
    assert path.anchor.subject == of["Root"].certificate.subject
