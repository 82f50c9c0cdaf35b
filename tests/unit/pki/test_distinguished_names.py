"""Names are read as people and OpenSSL write them, written as RFC 4514 has it, and the same where RFC 5280 says so."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.distinguished_names import DistinguishedName, rfc4514
from tests.kit import builders, names, openssl

NAME = "CN=billing,O=Example Ltd,C=GB"
WRITTEN = {
    NAME: [
        "CN=billing,O=Example Ltd,C=GB",
        "cn=billing, o=Example Ltd, c=GB",
        "CN=billing; O=Example Ltd; C=GB",
        'CN="billing",O="Example Ltd",C="GB"',
        "CN=billing,O=Example\\ Ltd,C=\\47\\42",
        "commonName=billing,organizationName=Example Ltd,countryName=GB",
        "2.5.4.3=billing,2.5.4.10=#0c0b4578616d706c65204c7464,OID.2.5.4.6=GB",
        "C = GB, O = Example Ltd, CN = billing",
        "C=GB, O=Example Ltd, CN=billing",
        "/C=GB/O=Example Ltd/CN=billing",
        "subject=C = GB, O = Example Ltd, CN = billing",
        "issuer=CN=billing,O=Example Ltd,C=GB",
        "issuer= /C=GB/O=Example Ltd/CN=billing",
        "subject=\n    countryName               = GB\n    organizationName = Example Ltd\n    commonName = billing\n",
    ],
    "emailAddress=ca@example.com,CN=Partner CA": [
        "1.2.840.113549.1.9.1=#160e6361406578616d706c652e636f6d,CN=Partner CA",
        "EMAILADDRESS=ca@example.com, CN=Partner CA",
        "E=ca@example.com,CN=Partner CA",
    ],
    "CN=a,serialNumber=12,organizationIdentifier=VATDE-1,title=Dr": [
        "CN=a,SERIALNUMBER=12,OID.2.5.4.97=VATDE-1,T=Dr",
        "CN=a,2.5.4.5=#13023132,2.5.4.97=#0c0756415444452d31,title=Dr",
    ],
    "CN=a+OU=b+serialNumber=7,O=\\ c\\ ": [
        "serialNumber=7+OU=b+CN=a,O=\\ c\\ ",
        'OU=b + CN=a + serialNumber=7 , O=" c "',
        'O = " c ", CN = a + OU = b + serialNumber = 7',
    ],
    'CN=\\"a\\, b\\+\\\\\\#\\;\\<\\>,O=B\u00e9': ['CN="\\"a, b+\\\\#;<>",O=B\\C3\\A9'],
    "CN=mtls-rotation CA,dnQualifier=20261130-b9d994103d27": [
        "CN=mtls-rotation CA,2.5.4.46=20261130-b9d994103d27",
        "CN=mtls-rotation CA,DNQ=20261130-b9d994103d27",
        "dnQualifier=20261130-b9d994103d27, CN=mtls-rotation CA",
    ],
    "CN=\\#,O=a": ["CN=#,O=a", "O = a, CN = #", "O=a, CN=#"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in WRITTEN.items() for text in texts])
def test_a_name_is_read_as_tools_and_people_write_it(name: str, text: str) -> None:
    read = DistinguishedName.parse(text)

    assert read == DistinguishedName.parse(name)
    assert str(DistinguishedName.parse(str(read))) == str(read)


@pytest.mark.parametrize(
    "text",
    ["", " ", "billing", "CN", "=a", "CN=a,", "CN=a,b", "CN=a+b", "CN=a,,O=b", "favouriteDrink=tea", "CN=a\\", "CN=\\x",
     "CN=\\C3", 'CN="a', 'CN="a"b', "CN=a<b", "CN=#0", "CN=#0c", "CN=#0c0161ff", "3.1=a", "1.40=a", "01.2=a",
     "/a", "/CN", "CN=a/O=b\nc", "\n", "CN=\ud800"],
)  # fmt: skip
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        DistinguishedName.parse(text)


def test_where_the_text_does_not_tell_its_order_both_are_given() -> None:
    first, second = DistinguishedName.readings("DC=a, DC=b")
    assert str(first) == "DC=a,DC=b"
    assert str(second) == "DC=b,DC=a"
    assert len(DistinguishedName.readings("DC=a,DC=b")) == 1


def test_a_name_is_written_as_openssl_does() -> None:
    attributes = [
        (NameOID.COUNTRY_NAME, "GB"),
        (NameOID.ORGANIZATION_NAME, 'Ex, "ample" <Ltd>; a+b\\ '),
        (NameOID.TITLE, "#1"),
        (NameOID.EMAIL_ADDRESS, "ca@example.com"),
        (NameOID.ORGANIZATION_IDENTIFIER, "VATGB-1"),
        (x509.ObjectIdentifier("1.3.6.1.4.1.59310.1"), "of nobody"),
        (NameOID.COMMON_NAME, " billing\n"),
    ]
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
    certificate = builders.foreign(subject=name)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "a.pem")
        file.write_text(pki.to_pem(certificate))
        command = ["openssl", "x509", "-noout", "-subject", "-in", str(file), "-nameopt"]
        printed = subprocess.run([*command, "RFC2253"], capture_output=True, text=True, check=True).stdout
        forms = [
            subprocess.run([*command, form], capture_output=True, text=True, check=True).stdout
            for form in ("oneline", "RFC2253,-esc_msb,utf8", "RFC2253,dump_all", "RFC2253,oid", "multiline")
        ]

    assert printed.lower() == f"subject={rfc4514(name)}\n".lower()
    assert {DistinguishedName.parse(it) for it in (printed, *forms)} == {DistinguishedName.of(name)}


@given(names.names())
@settings(max_examples=200, deadline=None)
def test_a_name_is_read_from_each_form_in_which_openssl_writes_it(encoded: bytes) -> None:
    name = DistinguishedName.from_der(encoded)

    assert DistinguishedName.parse(str(name)) == name
    assume(openssl.reads(encoded))
    assert DistinguishedName.parse(openssl.written(encoded, openssl.RFC2253)) == name
    assert DistinguishedName.parse(openssl.written(encoded, openssl.ONELINE)) == name
    assert DistinguishedName.parse(f"subject=\n{openssl.written(encoded, openssl.MULTILINE)}\n") == name
    assert name in DistinguishedName.readings(openssl.written(encoded, openssl.DEFAULT_3_2))


@given(names.names(names.ODD_VALUES))
@settings(max_examples=200, deadline=None)
def test_a_name_that_cannot_be_decoded_is_told_all_the_same(encoded: bytes) -> None:
    name = DistinguishedName.from_der(encoded)
    assert DistinguishedName.parse(str(name)) == name


@given(names.names(), names.names())
@settings(max_examples=200, deadline=None)
def test_whatever_openssl_takes_for_the_same_name_is_the_same(encoded: bytes, other: bytes) -> None:
    name = DistinguishedName.from_der(encoded)
    assert name.is_same(name)
    if openssl.reads(encoded) and openssl.reads(other) and openssl.same(encoded, other):
        assert name.is_same(DistinguishedName.from_der(other))


def of(*parts: list[tuple[int, bytes]]) -> DistinguishedName:
    """A name of common names with these values."""
    kind = bytes([0x55, 4, 3])
    return DistinguishedName.from_der(names.name([[names.attribute(kind, it) for it in part] for part in parts]))


@pytest.mark.parametrize(
    ("value", "other", "same"),
    [
        ((names.PRINTABLE, b"Example CA"), (names.UTF8, b"Example CA"), True),
        ((names.PRINTABLE, b"Example CA"), (names.UTF8, b"EXAMPLE  ca "), True),
        ((names.BMP, "É".encode("utf-16-be")), (names.UTF8, "é".encode()), True),
        ((names.TELETEX, b"\xe9"), (names.UTF8, "é".encode()), True),
        ((names.PRINTABLE, b"Example CA"), (names.UTF8, b"ExampleCA"), False),
        ((names.UTF8, b"a"), (names.UTF8, "а".encode()), False),  # noqa: RUF001 - a Cyrillic letter
    ],
)
def test_names_are_the_same_where_rfc_5280_says_so(
    value: tuple[int, bytes], other: tuple[int, bytes], same: bool
) -> None:
    assert of([value]).is_same(of([other])) is same


def test_the_order_of_the_parts_tells_names_apart() -> None:
    a, b = (names.UTF8, b"a"), (names.UTF8, b"b")
    assert not of([a], [b]).is_same(of([b], [a]))
    assert of([a, b]) == of([b, a])


@given(st.binary(max_size=40))
@settings(max_examples=200, deadline=None)
def test_what_is_no_name_in_der_is_refused(encoded: bytes) -> None:
    try:
        name = DistinguishedName.from_der(encoded)
    except ValueError:
        return
    assert not name.parts or DistinguishedName.parse(str(name)) == name
