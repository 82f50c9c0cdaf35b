"""A caller whose certificate holds what cannot be decoded: what can be told is told, and no list takes the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography import x509

from mtls_rotation.contract.revocations import Revocations
from mtls_rotation.gateway.authorizer.allow_list import AllowList
from mtls_rotation.gateway.authorizer.decision import Decision, decide
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import der
from mtls_rotation.pki.presented import Presented
from mtls_rotation.pki.signatures import has_signed
from tests.kit import builders, names, odd

COMMON_NAME, ORGANIZATION = bytes([0x55, 4, 3]), bytes([0x55, 4, 10])
ODD = {
    "an ampersand in a PrintableString": ((names.PRINTABLE, b"Marks & Sons"), "O=Marks & Sons"),
    "an underscore in a PrintableString": ((names.PRINTABLE, b"marks_sons"), "O=marks_sons"),
    "Latin-1 in a TeletexString": ((names.TELETEX, b"M\xe4rks"), "O=#14054de4726b73"),
    "Latin-1 in a UTF8String": ((names.UTF8, b"M\xe4rks"), "O=#0c054de4726b73"),
    "half a letter in a BMPString": ((names.BMP, b"\0M\0"), "O=#1e03004d00"),
    "a number": ((0x02, b"\x07"), "O=#020107"),
    "a country of three letters": ((names.PRINTABLE, b"GBR"), "O=GBR"),
}


def subject(value: tuple[int, bytes]) -> bytes:
    """`CN=billing` with an organization of that value."""
    parts = [[names.attribute(ORGANIZATION, value)], [names.attribute(COMMON_NAME, (names.UTF8, b"billing"))]]
    return names.name(parts)


def decided(pem: str, *entries: Any) -> Decision:
    allowed = AllowList.parse(json.dumps({"routes": {"GET /": entries}}), "the test") if entries else None
    return decide(pem, "GET", "/", Revocations, (lambda: allowed) if allowed else None, lambda _: ())


@pytest.mark.parametrize(("value", "told"), ODD.values(), ids=ODD)
def test_an_odd_name_costs_a_caller_nothing_where_no_list_asks_for_it(
    ca: pki.CertifiedKey, value: tuple[int, bytes], told: str
) -> None:
    pem = odd.named(ca, subject(value))
    decision = decided(pem)

    assert decision.denial == ""
    assert decision.context["subject"] == f"CN=billing,{told}"
    assert decision.context["issuer"] == pki.subject(ca.certificate)
    assert int(decision.context["serialNumber"], 16)
    assert len(decision.context["fingerprintSha256"]) == 64
    assert decision.names == ("ip:192.0.2.1",)
    assert decided(pem, "*").denial == ""
    assert decided(pem, "ip:192.0.2.1").denial == ""
    assert decided(pem, "subject:CN=billing", "subject:CN=billing,O=Märks").denial == "not-allowed"


@pytest.mark.parametrize("value", [value for value, _ in ODD.values()], ids=ODD)
def test_an_odd_name_is_no_way_round_the_signature(ca: pki.CertifiedKey, value: tuple[int, bytes]) -> None:
    presented = Presented.from_pem(odd.named(ca, subject(value)))

    assert has_signed(ca.key.public_key(), presented)
    assert not has_signed(builders.root().key.public_key(), presented)


def test_of_alternative_names_those_that_can_be_read_count(ca: pki.CertifiedKey) -> None:
    listed = [
        der.encode(0x82, b"Billing.example.com"),
        der.encode(0x82, b"b\xfccher.example"),
        der.encode(0xA4, subject(ODD["Latin-1 in a TeletexString"][0])),
        der.encode(0x87, b"\xc0\0\2"),
        der.encode(0xA0, b"\x06\x01\x2a"),
        der.encode(0x81, b"Team@Example.com"),
        der.encode(0x86, b"spiffe://example.com/Billing"),
        der.encode(0x87, bytes(15) + b"\1"),
    ]
    pem = odd.named(ca, subject((names.UTF8, b"a")), der.encode(der.SEQUENCE, b"".join(listed)))

    assert decided(pem).names == (
        "dns:billing.example.com",
        "email:Team@example.com",
        "uri:spiffe://example.com/Billing",
        "ip:::1",
    )


def test_alternative_names_that_break_off_are_none(ca: pki.CertifiedKey) -> None:
    pem = odd.named(ca, subject((names.UTF8, b"a")), bytes.fromhex("3009820361626382ff"))

    assert decided(pem).denial == ""
    assert decided(pem).names == ()


def test_what_is_read_of_a_certificate_is_what_the_library_reads() -> None:
    ca = builders.root()
    made = builders.leaf(
        ca,
        organization="Söhne & Co",
        country="CH",
        dns_names=["Billing.example.com", "bücher.example"],
        emails=["Team@example.com"],
        uris=["https://example.com/a"],
        ip_addresses=["2001:db8::1"],
    ).certificate
    presented = Presented.from_pem(pki.to_pem(made))

    assert presented.tbs_certificate_bytes == made.tbs_certificate_bytes
    assert presented.signature == made.signature
    assert presented.public_key() == made.public_key()
    assert presented.serial_number == made.serial_number
    assert presented.fingerprint == pki.fingerprint(made)
    assert str(presented.subject_name) == pki.subject(made)
    assert len(presented.extensions) == len(made.extensions)
    library = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [it.partition(":")[2] for it in presented.alternative_names] == [
        str(it.value).replace("B", "b") for it in library
    ]
    assert has_signed(ca.key.public_key(), presented)


@pytest.mark.parametrize("cut", [1, 10, 100, 200, 300])
def test_a_certificate_that_breaks_off_is_unreadable(ca: pki.CertifiedKey, cut: int) -> None:
    whole = builders.leaf(ca).certificate
    encoded = Presented.from_pem(pki.to_pem(whole)).encoded

    with pytest.raises(ValueError, match=r"\w"):
        Presented.from_der(encoded[:-cut])
    assert decided("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n").denial == "unreadable"
