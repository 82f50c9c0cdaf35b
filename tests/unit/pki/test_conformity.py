"""What somebody else issues is taken if it says what was asked for, however RFC 5280, section 7, lets it be written."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.conformity import violations
from mtls_rotation.pki.request import CertificateRequest
from tests.kit import builders

ASKED: dict[str, Any] = {
    "common_name": "billing",
    "organization": "Example Ltd",
    "dns_names": ["Billing.Example.COM"],
    "emails": ["Team@Example.COM"],
    "uris": ["HTTPS://Example.COM/a%2Db%c3%a9", "spiffe://example.com/Billing"],
    "ip_addresses": ["2001:DB8:0::1"],
}
GIVEN: dict[str, Any] = {
    "common_name": "Billing",
    "organization": "EXAMPLE  Ltd",
    "dns_names": ["billing.example.com"],
    "emails": ["Team@example.com"],
    "uris": ["https://example.com/a-b%C3%A9", "spiffe://example.com/Billing"],
    "ip_addresses": ["2001:db8::1"],
}


def found(ca: pki.CertifiedKey, **given: Any) -> list[str]:
    made = builders.leaf(ca, **GIVEN | given)
    return violations(CertificateRequest(validity_days=30, **ASKED), made.certificate, made.key.public_key())


def test_a_ca_may_write_names_in_another_case(ca: pki.CertifiedKey) -> None:
    assert found(ca) == []


def test_a_ca_may_encode_a_subject_otherwise(ca: pki.CertifiedKey) -> None:
    attribute = x509.NameAttribute(NameOID.COMMON_NAME, "billing", _ASN1Type.PrintableString)
    certificate, key = builders.Foreign(subject=x509.Name([attribute]), authority=False, signer=ca.key).make()

    told = violations(CertificateRequest(common_name="billing"), certificate, key.public_key())
    assert not [it for it in told if "subject" in it]


@pytest.mark.parametrize(
    "other",
    [
        {"common_name": "billing 2"},
        {"organization": "ExampleLtd"},
        {"dns_names": ["billing.example.org"]},
        {"emails": ["team@example.com"]},
        {"uris": ["https://example.com/A-b%C3%A9", "spiffe://example.com/Billing"]},
        {"uris": ["https://example.com/a-b%C3%A9", "spiffe://example.com/billing"]},
        {"ip_addresses": ["2001:db8::2"]},
    ],
    ids=lambda it: str(next(iter(it.values()))),
)
def test_a_ca_may_give_no_other_name(ca: pki.CertifiedKey, other: dict[str, Any]) -> None:
    assert len(found(ca, **other)) == 1


@pytest.mark.parametrize("address", ["fe80::1%eth0", "fe80::1%1", "::1%"])
def test_an_address_with_a_zone_is_refused_before_it_is_asked_for(address: str) -> None:
    with pytest.raises(ValidationError, match=r"zone|an IPv4 or IPv6 address"):
        CertificateRequest(common_name="billing", ip_addresses=(address,))
