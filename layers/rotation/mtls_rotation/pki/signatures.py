"""Who has signed a certificate: by the names as OpenSSL compares them, and by the key. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa

from mtls_rotation.pki import der

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from mtls_rotation.pki.presented import Signed

# TeletexString and IA5String: to OpenSSL an octet is a letter (`tag2nbyte` in crypto/asn1/a_strex.c), where the library
# takes the octets for UTF-8. Of the other types that have one octet for a letter, one of both takes ASCII alone.
_LATIN = frozenset({0x14, 0x16})
# What OpenSSL takes for white space, and lower-cases.
_SPACES = dict.fromkeys(map(ord, "\t\n\v\f\r"), " ")
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def comparable(name: x509.Name) -> tuple[bytes, ...]:
    """What names are compared by, part by part: in which type of string each is written does not matter, nor case.

    As OpenSSL has it (`asn1_string_canon` in crypto/x509/x_name.c), and RFC 5280, section 7.1, for what is ASCII.
    Unlike `DistinguishedName.is_same`, which folds all of Unicode: a server that does not would build another path.
    """
    # The attributes of one part are a set.
    return tuple(
        b"\0".join(sorted(f"{it.oid.dotted_string}={_folded(_value(it))}".encode() for it in part))
        for part in name.rdns
    )


def signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the names chain and `issuer`'s key has signed `certificate`."""
    return comparable(certificate.issuer) == comparable(issuer.subject) and signed_with_key_of(certificate, issuer)


def signed_with_key_of(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `issuer`'s key has signed `certificate`, whatever their names are."""
    try:
        if certificate.issuer.public_bytes() == issuer.subject.public_bytes():
            certificate.verify_directly_issued_by(issuer)
        else:  # the library wants names to be equal byte by byte
            return has_signed(issuer.public_key(), certificate)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def has_signed(key: PublicKeyTypes, certificate: Signed) -> bool:
    """Whether the private half of `key` has signed `certificate`. Names do not count.

    Raises:
        ValueError: it cannot be told: the key or the signature is of a kind that the library does not check.
    """
    signature, signed = certificate.signature, certificate.tbs_certificate_bytes
    try:
        digest, parameters = certificate.signature_hash_algorithm, certificate.signature_algorithm_parameters
        match key, parameters, digest:
            case rsa.RSAPublicKey(), padding.PKCS1v15() | padding.PSS(), hashes.HashAlgorithm():
                key.verify(signature, signed, parameters, digest)
            case ec.EllipticCurvePublicKey(), ec.ECDSA(), _:
                key.verify(signature, signed, parameters)
            case ((ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey()), None, None):
                key.verify(signature, signed)
            case dsa.DSAPublicKey(), None, hashes.HashAlgorithm():
                key.verify(signature, signed, digest)
            case _:
                return False  # another kind of key has signed it
    except InvalidSignature:
        return False
    except Exception as error:  # noqa: BLE001 - the library has a kind for each thing that may be wrong with one
        raise ValueError(f"a signature that cannot be checked ({type(error).__name__})") from None
    return True


def _value(attribute: x509.NameAttribute[str | bytes]) -> str | bytes:
    """The value as OpenSSL reads it, which takes the octets of some types of string for Latin-1."""
    value = attribute.value
    if isinstance(value, bytes) or value.isascii():
        return value
    (part,) = der.only(x509.Name([attribute]).public_bytes()).within(der.SEQUENCE)
    (pair,) = part.within(der.SET)
    _, encoded = pair.within(der.SEQUENCE)
    return encoded.content.decode("latin-1") if encoded.tag in _LATIN else value


def _folded(value: str | bytes) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return " ".join(it for it in value.translate(_SPACES).split(" ") if it).translate(_LOWER)
