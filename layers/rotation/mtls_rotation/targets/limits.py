"""What each kind of target takes: its rules for a certificate in a truststore as a list of named checks. Pure.

API Gateway: https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-mutual-tls.html
"""

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import MD5, SHA1, SHA224

from mtls_rotation.contract.layout import TRUSTSTORE
from mtls_rotation.pki.servers import MAX_CHAIN_LENGTH
from mtls_rotation.pki.signatures import signed_by
from mtls_rotation.targets.api import Limits, Rule


def _is_in_date(certificate: x509.Certificate, now: datetime) -> str | None:
    if now > certificate.not_valid_after_utc:
        return f"it expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    if now < certificate.not_valid_before_utc:
        return f"it is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    return None


def _is_version_3(certificate: x509.Certificate, _: datetime) -> str | None:
    return None if certificate.version is x509.Version.v3 else f"it is X.509 {certificate.version.name}, not v3"


def _has_strong_signature(certificate: x509.Certificate, _: datetime) -> str | None:
    digest = certificate.signature_hash_algorithm
    if digest is None:
        return f"its signature algorithm {certificate.signature_algorithm_oid.dotted_string} is not supported"
    if isinstance(digest, MD5 | SHA1 | SHA224):
        return f"it is signed with {digest.name.upper()}, where SHA-256 or stronger is required"
    return None


def _has_strong_key(certificate: x509.Certificate, _: datetime) -> str | None:
    match certificate.public_key():
        case rsa.RSAPublicKey() as key if key.key_size < 2048:
            return f"its key is RSA-{key.key_size}, where RSA-2048 or stronger is required"
        case ec.EllipticCurvePublicKey() as key if key.curve.name not in {"secp256r1", "secp384r1", "secp521r1"}:
            return f"its key is on the curve {key.curve.name}, where P-256 or stronger is required"
        case rsa.RSAPublicKey() | ec.EllipticCurvePublicKey():
            return None
        case _:
            return "its key is neither RSA nor ECDSA"


def _is_authority_or_self_signed(certificate: x509.Certificate, _: datetime) -> str | None:
    if is_authority(certificate) or signed_by(certificate, certificate):
        return None
    return "it is neither a CA nor self-signed"


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether the basic constraints say CA."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


API_GATEWAY_RULES: tuple[Rule, ...] = (
    _is_version_3,
    _is_in_date,
    _has_strong_signature,
    _has_strong_key,
    _is_authority_or_self_signed,
)


def api_gateway(capacity: int = 1000) -> Limits:
    """What API Gateway takes, of so many certificates: a quota that can be raised."""
    return Limits(
        name="API Gateway",
        key=TRUSTSTORE,
        rules=API_GATEWAY_RULES,
        capacity=capacity,
        chain=MAX_CHAIN_LENGTH,
        quota="API Gateway's quota and TruststoreMaxCertificates",
    )


API_GATEWAY = api_gateway()
