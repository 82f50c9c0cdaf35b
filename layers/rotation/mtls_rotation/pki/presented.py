"""A certificate as somebody presents it: each part is read by itself, where the library reads all or nothing. Pure.

CAs put an ampersand into a PrintableString, or Latin-1 into a TeletexString, and servers let their clients in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_rotation.pki import der
from mtls_rotation.pki.distinguished_names import DistinguishedName
from mtls_rotation.pki.names import folded_email

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----")
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_LAST_VERSION = 2  # version 3 (RFC 5280, section 4.1.2.1)
_BASIC_CONSTRAINTS = bytes.fromhex("551d13")
_KEY_IDENTIFIER, _ISSUERS_KEY_IDENTIFIER = bytes.fromhex("551d0e"), bytes.fromhex("551d23")
# In AuthorityKeyIdentifier (RFC 5280, section 4.2.1.1).
_IDENTIFIER = 0x80
_ALTERNATIVE_NAMES = bytes.fromhex("551d11")
# GeneralName (RFC 5280, section 4.2.1.6).
_EMAIL, _DNS, _URI, _IP = 0x81, 0x82, 0x86, 0x87
_NO_NAME = b"\x30\x00"


class Signed(Protocol):
    """What somebody has signed: a certificate of the library, or one that is `Presented`."""

    @property
    def serial_number(self) -> int:
        """The serial number."""
        ...

    @property
    def tbs_certificate_bytes(self) -> bytes:
        """What is signed."""
        ...

    @property
    def signature(self) -> bytes:
        """The signature."""
        ...

    @property
    def signature_hash_algorithm(self) -> hashes.HashAlgorithm | None:
        """What was hashed with."""
        ...

    @property
    def signature_algorithm_parameters(self) -> padding.PSS | padding.PKCS1v15 | ec.ECDSA | None:
        """How it was signed."""
        ...


@dataclass(frozen=True)
class Presented:
    """A certificate.

    Attributes:
        encoded: its DER.
        tbs_certificate_bytes: what is signed of it.
        extensions: each with its object identifier, in DER.
    """

    encoded: bytes
    tbs_certificate_bytes: bytes
    signature: bytes
    serial_number: int
    issuer_name: DistinguishedName
    subject_name: DistinguishedName
    extensions: tuple[tuple[bytes, bytes], ...]

    @classmethod
    def from_pem(cls, pem: str) -> Self:
        """The first certificate of a PEM text.

        Raises:
            ValueError: there is none that can be told from any other.
        """
        found = _PEM.search(pem)
        if found is None:
            raise ValueError("no PEM certificate")
        return cls._from_base64(found[1])

    @classmethod
    def all_from_pem(cls, text: str) -> tuple[Self, ...]:
        """Every certificate of a text; what stands between them is passed over.

        Raises:
            ValueError: one of them cannot be told from any other, or breaks off.
        """
        found = _PEM.findall(text)
        if len(found) < text.count("-----BEGIN CERTIFICATE-----"):
            raise ValueError("a PEM certificate that breaks off")
        return tuple(map(cls._from_base64, found))

    @classmethod
    def _from_base64(cls, text: str) -> Self:
        try:
            return cls.from_der(binascii.a2b_base64("".join(text.split()), strict_mode=True))
        except binascii.Error:
            raise ValueError("no base64 in a PEM certificate") from None

    @classmethod
    def from_der(cls, encoded: bytes) -> Self:
        """A certificate in DER.

        Raises:
            ValueError: it is none that can be told from any other: its issuer and its serial number must be there.
        """
        signed, _, signature = _three(der.only(encoded).within(der.SEQUENCE))
        fields = list(signed.within(der.SEQUENCE))
        version = fields.pop(0) if fields and fields[0].tag == _VERSION else None
        if version and int.from_bytes(der.only(version.content).content) > _LAST_VERSION:
            raise ValueError("a certificate of a version that there is not")
        if len(fields) < _FIELDS or fields[0].tag != der.INTEGER or not fields[0].content:
            raise ValueError("no certificate")
        number, _, issuer, _, subject, _, *further = fields
        if signature.tag != der.BIT_STRING:
            raise ValueError("a certificate without a signature")
        return cls(
            encoded,
            signed.whole,
            signature.content[1:],
            int.from_bytes(number.content, signed=True),
            DistinguishedName.from_der(issuer.whole),
            DistinguishedName.from_der(subject.whole),
            tuple(_extensions(further)),
        )

    @classmethod
    def of(cls, certificate: x509.Certificate | Presented) -> Presented:
        """A certificate that the library holds, whatever it can read of it.

        Raises:
            ValueError: it is none that can be told from any other.
        """
        if isinstance(certificate, Presented):
            return certificate
        return cls.from_der(certificate.public_bytes(Encoding.DER))

    @property
    def pem(self) -> str:
        """It as PEM."""
        return f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(self.encoded).decode()}-----END CERTIFICATE-----\n"

    @property
    def is_authority(self) -> bool:
        """Whether its basic constraints say that it is a CA's; what cannot be read says nothing."""
        found = (value for kind, value in self.extensions if kind == _BASIC_CONSTRAINTS)
        try:
            first = next(der.only(next(found, _NO_NAME)).within(der.SEQUENCE), None)
        except ValueError:
            return False
        return first is not None and first.tag == der.BOOLEAN and any(first.content)

    @property
    def key_identifier(self) -> bytes | None:
        """The identifier of its key, as its maker wrote it; None if there is none that can be read."""
        found = self._element(_KEY_IDENTIFIER)
        return found.content if found and found.tag == der.OCTET_STRING else None

    @property
    def issuers_key_identifier(self) -> bytes | None:
        """The identifier of the key that has signed it, by its own word; None if there is none that can be read."""
        found = self._element(_ISSUERS_KEY_IDENTIFIER)
        try:
            first = next(found.within(der.SEQUENCE), None) if found else None
        except ValueError:
            return None
        return first.content if first and first.tag == _IDENTIFIER else None

    def _element(self, kind: bytes) -> der.Element | None:
        """What an extension holds; None where there is none of the kind, or more than one, or no DER in it."""
        found = [value for it, value in self.extensions if it == kind]
        try:
            return der.only(found[0]) if len(found) == 1 else None
        except ValueError:
            return None

    @property
    def fingerprint(self) -> str:
        """The SHA-256 fingerprint, lower-case hex."""
        return hashlib.sha256(self.encoded).hexdigest()

    @property
    def signs_itself(self) -> bool:
        """Whether it names itself as its issuer."""
        return self.issuer_name == self.subject_name

    @property
    def alternative_names(self) -> tuple[str, ...]:
        """The subject alternative names, each with its kind before it: `dns:`, `uri:`, `email:` or `ip:`.

        Hosts are in lower case. What is of another kind or no text is left out; where an extension is there twice,
        which RFC 5280, section 4.2, forbids, all are: another reader may take the other one.
        """
        found = [value for kind, value in self.extensions if kind == _ALTERNATIVE_NAMES]
        if not found or len({kind for kind, _ in self.extensions}) < len(self.extensions):
            return ()
        try:
            names = list(der.only(found[0]).within(der.SEQUENCE))
        except ValueError:
            return ()
        return tuple(text for it in names if (text := _alternative_name(it)))

    def public_key(self) -> CertificatePublicKeyTypes:
        """The key that it is for. Whatever the library has against it is raised."""
        return self._nameless.public_key()

    @property
    def signature_hash_algorithm(self) -> hashes.HashAlgorithm | None:
        """See `Signed`."""
        return self._nameless.signature_hash_algorithm

    @property
    def signature_algorithm_parameters(self) -> padding.PSS | padding.PKCS1v15 | ec.ECDSA | None:
        """See `Signed`."""
        return self._nameless.signature_algorithm_parameters

    @cached_property
    def _nameless(self) -> x509.Certificate:
        """The same without names, which are what the library most often does not read. Its signature does not fit."""
        signed, *rest = der.only(self.encoded).within(der.SEQUENCE)
        fields = [it.whole for it in signed.within(der.SEQUENCE)]
        issuer = 3 if fields[0][0] == _VERSION else 2
        fields[issuer] = fields[issuer + 2] = _NO_NAME
        content = der.encode(der.SEQUENCE, b"".join(fields)) + b"".join(it.whole for it in rest)
        return x509.load_der_x509_certificate(der.encode(der.SEQUENCE, content))


# From the serial number to the public key.
_FIELDS = 6


def _three(elements: Iterator[der.Element]) -> tuple[der.Element, der.Element, der.Element]:
    first, second, third = elements
    return first, second, third


def _extensions(fields: list[der.Element]) -> Iterator[tuple[bytes, bytes]]:
    for field in fields:
        if field.tag == _EXTENSIONS:
            for it in der.only(field.content).within(der.SEQUENCE):
                kind, *_, value = it.within(der.SEQUENCE)
                yield kind.content, value.content


def _alternative_name(name: der.Element) -> str | None:
    read = _READ.get(name.tag)
    try:
        return read(name.content) if read else None
    except ValueError:
        return None


_READ: dict[int, Callable[[bytes], str]] = {
    _EMAIL: lambda content: f"email:{folded_email(content.decode('ascii'))}",
    _DNS: lambda content: f"dns:{content.decode('ascii').lower()}",
    _URI: lambda content: f"uri:{content.decode('ascii')}",
    _IP: lambda content: f"ip:{ipaddress.ip_address(content)}",
}
