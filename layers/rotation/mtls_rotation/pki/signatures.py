"""Who has signed a certificate: by the names as OpenSSL compares them, and by the key. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

if TYPE_CHECKING:
    from cryptography import x509

# What OpenSSL takes for white space, and lower-cases.
_SPACES = dict.fromkeys(map(ord, "\t\n\v\f\r"), " ")
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def comparable(name: x509.Name) -> tuple[bytes, ...]:
    """What names are compared by, part by part: in which type of string each is written does not matter, nor case.

    As OpenSSL has it (`asn1_string_canon` in crypto/x509/x_name.c), and RFC 5280, section 7.1, for what is ASCII.
    """
    # The attributes of one part are a set.
    return tuple(
        b"\0".join(sorted(f"{it.oid.dotted_string}={_folded(it.value)}".encode() for it in part)) for part in name.rdns
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
            _verify(certificate, issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _verify(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    key, parameters = issuer.public_key(), certificate.signature_algorithm_parameters
    signature, content = certificate.signature, certificate.tbs_certificate_bytes
    match key, parameters:
        case ec.EllipticCurvePublicKey(), ec.ECDSA():
            key.verify(signature, content, parameters)
        case rsa.RSAPublicKey(), parameters if parameters is not None and not isinstance(parameters, ec.ECDSA):
            digest = certificate.signature_hash_algorithm
            if digest is None:
                raise UnsupportedAlgorithm("a signature without a digest")
            key.verify(signature, content, parameters, digest)
        case _:
            raise UnsupportedAlgorithm("a key that is neither RSA nor EC")


def _folded(value: str | bytes) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return " ".join(it for it in value.translate(_SPACES).split(" ") if it).translate(_LOWER)
