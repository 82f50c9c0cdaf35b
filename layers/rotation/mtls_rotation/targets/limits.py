"""API Gateway's rules for a certificate in a truststore, as a list of named checks. Pure.

https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-mutual-tls.html
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import MD5, SHA1, SHA224

from mtls_rotation.pki.verification import MAX_CHAIN_LENGTH, signed_by

type Rule = Callable[[x509.Certificate, datetime], str | None]


def refusal(certificate: x509.Certificate, now: datetime) -> str | None:
    """Why API Gateway would not take this certificate as an anchor at `now`, or None if it would."""
    return next((reason for rule in RULES if (reason := rule(certificate, now))), None)


def over_long_chains(certificates: Iterable[x509.Certificate]) -> Mapping[x509.Certificate, str]:
    """Which of these are too far below their root for API Gateway to accept any client of theirs, and why.

    A certificate's chain is the shortest that the names of issuers lead along, upwards among `certificates`.
    """
    pool = set(certificates)
    by_subject = defaultdict(list)
    for certificate in pool:
        by_subject[certificate.subject].append(certificate)
    # Breadth first, downwards: from those with nothing above them, each level one further from its root.
    height = {it: 1 for it in pool if it.issuer == it.subject or it.issuer not in by_subject}
    below = defaultdict(list)
    for certificate in pool - set(height):
        below[certificate.issuer].append(certificate)
    level = list(height)
    while level:
        found = {it for name in {above.subject for above in level} for it in below[name] if it not in height}
        height |= dict.fromkeys(found, height[level[0]] + 1)
        level = list(found)
    return {
        it: f"its chain has {levels} CAs, where API Gateway takes {MAX_CHAIN_LENGTH} at most"
        for it, levels in height.items()
        if levels > MAX_CHAIN_LENGTH
    }


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


RULES: tuple[Rule, ...] = (
    _is_version_3,
    _is_in_date,
    _has_strong_signature,
    _has_strong_key,
    _is_authority_or_self_signed,
)
