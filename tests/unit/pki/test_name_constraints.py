"""What the CAs above a certificate allow it to be named: what some server would refuse is refused."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from mtls_rotation.pki.servers import Servers
from tests.kit.builders import NOW
from tests.kit.chains import LEAF, PRINTABLE, Member, Shape, named

DNS, MAIL, URI = x509.DNSName, x509.RFC822Name, x509.UniformResourceIdentifier


def distinguished(**parts: str) -> x509.Name:
    oids = {"o": NameOID.ORGANIZATION_NAME, "cn": NameOID.COMMON_NAME, "e": NameOID.EMAIL_ADDRESS}
    return x509.Name([x509.NameAttribute(oids[key], value) for key, value in parts.items()])


def directory(**parts: str) -> x509.DirectoryName:
    return x509.DirectoryName(distinguished(**parts))


def refusal(
    permitted: list[x509.GeneralName] | None,
    excluded: list[x509.GeneralName] | None,
    *names: x509.GeneralName,
    subject: x509.Name | str = "leaf",
    critical: bool = True,
) -> str:
    constraints = x509.NameConstraints(permitted, excluded)
    root = Shape("Root", more=((constraints, critical),)).self_signed()
    more = ((x509.SubjectAlternativeName(names), False),) if names else ()
    leaf = LEAF.but(name=subject, more=more).by(root)
    return judged(leaf, [], root)


def judged(leaf: Member, chain: list[Member], root: Member) -> str:
    sent = [it.certificate for it in chain]
    return "; ".join(Servers([root.certificate], NOW).refusals(leaf.certificate, sent))


@pytest.mark.parametrize("critical", [True, False], ids=["critical", "not critical"])
@pytest.mark.parametrize(
    ("subtree", "within", "without"),
    [
        (DNS("example.com"), DNS("a.b.EXAMPLE.com"), DNS("badexample.com")),
        (DNS("example.com"), DNS("example.com"), DNS("example.org")),
        (DNS(".example.com"), DNS("a.example.com"), DNS("a.example.org")),
        (MAIL("example.com"), MAIL("me@Example.com"), MAIL("me@a.example.com")),
        (MAIL(".example.com"), MAIL("me@a.example.com"), MAIL("me@example.com")),
        (MAIL("me@example.com"), MAIL("me@EXAMPLE.com"), MAIL("Me@example.com")),
        (URI("example.com"), URI("https://example.com:443/a"), URI("https://a.example.com/")),
        (URI(".example.com"), URI("spiffe://a.example.com/b"), URI("spiffe://example.com/b")),
        (x509.IPAddress(ip_network("192.0.2.0/24")), x509.IPAddress(ip_address("192.0.2.9")), None),
        (x509.IPAddress(ip_network("192.0.2.0/24")), None, x509.IPAddress(ip_address("192.0.3.9"))),
        (x509.IPAddress(ip_network("2001:db8::/32")), None, x509.IPAddress(ip_address("192.0.3.9"))),
    ],
)
def test_names_are_held_against_subtrees_of_their_kind(
    subtree: x509.GeneralName, within: x509.GeneralName | None, without: x509.GeneralName | None, critical: bool
) -> None:
    if within is not None:
        assert not refusal([subtree], None, within, critical=critical)
        assert "exclude" in refusal(None, [subtree], within, critical=critical)
    if without is not None:
        assert "do not permit" in refusal([subtree], None, without, critical=critical)
        assert not refusal(None, [subtree], without, critical=critical)


def test_a_critical_constraint_on_the_subject_that_holds_is_accepted() -> None:
    subtree = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Partner", _type=PRINTABLE)]))
    ours, others = distinguished(o="partner", cn="leaf"), distinguished(o="Other", cn="leaf")
    assert not refusal([subtree], None, subject=ours)
    assert "do not permit CN=leaf,O=Other" in refusal([subtree], None, subject=others)
    assert "exclude CN=leaf,O=partner" in refusal(None, [subtree], subject=ours)
    assert not refusal(None, [subtree], subject=others)


def test_one_subtree_of_several_suffices_and_each_name_needs_one() -> None:
    subtrees: list[x509.GeneralName] = [DNS("example.com"), DNS("example.org")]
    assert not refusal(subtrees, None, DNS("a.example.com"), DNS("example.org"))
    assert refusal(subtrees, None, DNS("a.example.com"), DNS("example.net"))


def test_names_of_another_kind_are_not_concerned() -> None:
    assert not refusal([DNS("example.com")], [MAIL("example.org")], URI("https://example.net/"))


def test_an_address_in_the_subject_counts() -> None:
    assert "do not permit me@other.example" in refusal(
        [MAIL("a.example")], None, subject=distinguished(cn="leaf", e="me@other.example")
    )


def test_a_common_name_that_looks_like_a_host_counts_where_no_host_is_named() -> None:
    """OpenSSL does so (`NAME_CONSTRAINTS_check_CN`)."""
    assert "do not permit a.example.org" in refusal([DNS("example.com")], None, subject="a.example.org")
    assert not refusal([DNS("example.com")], None, DNS("example.com"), subject="a.example.org")
    assert not refusal([DNS("example.com")], None, subject="billing")


@pytest.mark.parametrize(
    ("subtree", "name"),
    [
        (DNS(".example.com"), DNS("example.com")),
        (URI(""), URI("https://example.com/")),
        (URI("example.com"), URI("mailto:a@example.com")),
        (URI("example.com"), URI("https://a@example.com/")),
        (URI("192.0.2.1"), URI("https://192.0.2.1/")),
        (x509.RegisteredID(ObjectIdentifier("1.2.3")), x509.RegisteredID(ObjectIdentifier("1.2.3"))),
    ],
)
def test_what_servers_read_differently_is_refused(subtree: x509.GeneralName, name: x509.GeneralName) -> None:
    assert "not every server" in refusal([subtree], None, name)
    assert "not every server" in refusal(None, [subtree], name)


def test_cas_are_held_to_those_above_them_and_those_that_carry_their_issuers_name_are_not() -> None:
    constraints = x509.NameConstraints([directory(o="Partner")], None)
    top = Shape(distinguished(o="Elsewhere"), more=((constraints, True),)).self_signed()
    renewed = Shape(distinguished(o="Elsewhere"), more=((constraints, True),)).by(top)
    within, without = Shape(distinguished(o="Partner", cn="Sub")).by(top), Shape("Sub").by(top)
    leaf = LEAF.but(name=distinguished(o="Partner", cn="leaf"))
    assert not judged(leaf.by(within), [within], top)
    assert not judged(leaf.by(renewed), [renewed], top)
    assert "do not permit CN=Sub" in judged(leaf.by(without), [without], top)


def test_names_are_equal_in_whichever_case_they_are_written() -> None:
    assert not refusal([x509.DirectoryName(named("BILLING"))], None, subject="billing")
