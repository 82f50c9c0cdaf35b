"""Which names are one for servers, however they are encoded."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_rotation.pki.distinguished_names import DistinguishedName
from mtls_rotation.pki.namesakes import Namesakes
from tests.kit import builders, openssl

IN_OCTETS = builders.foreign(common_name="Caf\u00c3\u00a9")  # how OpenSSL reads the octets of the other's name


@pytest.mark.parametrize("tag", [0x14, 0x16], ids=["Teletex", "IA5"])
def test_octets_of_another_type_of_string_are_read_as_openssl_reads_them(tag: int) -> None:
    """It takes them for Latin-1, where the library takes them for UTF-8: by one a twin, by the other none."""
    other = builders.twin(builders.foreign(common_name="Caf\u00e9"), None)
    encoded = other.public_bytes(Encoding.DER)
    assert encoded.count(b"\x0c\x05Caf\xc3\xa9") == 2
    twin = x509.load_der_x509_certificate(encoded.replace(b"\x0c\x05Caf\xc3\xa9", bytes([tag]) + b"\x05Caf\xc3\xa9"))
    assert openssl.same(IN_OCTETS.subject.public_bytes(), twin.subject.public_bytes())

    assert Namesakes([IN_OCTETS]).harmed_by(twin) == IN_OCTETS
    assert Namesakes([other]).harmed_by(twin) is None
    assert DistinguishedName.of(IN_OCTETS.subject).is_same(DistinguishedName.of(twin.subject))
