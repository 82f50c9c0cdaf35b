"""Whether a server would accept a client certificate, as far as can be told without asking it. Calls nothing."""

from collections.abc import Iterable
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from mtls_rotation.pki.certificates import SigningKey, subject

# API Gateway's limit: https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-mutual-tls.html
MAX_CHAIN_LENGTH = 4


def refusals(
    certificate: x509.Certificate,
    key: SigningKey,
    chain: Iterable[x509.Certificate],
    anchors: Iterable[x509.Certificate],
    now: datetime,
) -> list[str]:
    """Why a server that trusts `anchors` would refuse this certificate and key at `now`; empty if it would not."""
    reasons = []
    if key.public_key() != certificate.public_key():
        reasons.append(f"the private key is not the one of the certificate {subject(certificate)}")
    if now < certificate.not_valid_before_utc:
        reasons.append(f"it is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC")
    if now > certificate.not_valid_after_utc:
        reasons.append(f"it expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC")
    if not reasons and (problem := _chain_problem(certificate, chain, anchors, now)):
        reasons.append(problem)
    return reasons


def _chain_problem(
    certificate: x509.Certificate,
    chain: Iterable[x509.Certificate],
    anchors: Iterable[x509.Certificate],
    now: datetime,
) -> str | None:
    # The web profile's policy for leaves demands a subject alternative name, which a client certificate need not have.
    leaf_policy = ExtensionPolicy.permit_all().require_present(
        x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _is_for_client_authentication
    )
    verifier = (
        PolicyBuilder()
        .store(Store(list(anchors)))
        .time(now)
        .max_chain_depth(MAX_CHAIN_LENGTH)
        .extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=leaf_policy)
        .build_client_verifier()
    )
    try:
        verifier.verify(certificate, list(chain))
    except VerificationError as error:
        return f"no chain to a trusted anchor: {error}"
    return None


def _is_for_client_authentication(_: Policy, __: x509.Certificate, usage: x509.ExtendedKeyUsage) -> None:
    """Refuse a leaf that is meant for something else (RFC 5280, section 4.2.1.12)."""
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise ValueError("its extended key usage is not clientAuth")
